"""The client repeats what may be repeated, resolves lost answers by reading, and never outlives its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from holdfast.cluster.client import DEADLINE_S, LIST_PAGE, PAGE_S, ApiClient, LeadershipLost, NameTaken
from holdfast.cluster.turns import MUTATIONS
from holdfast.planning.plan import PODS, TRAINING_JOBS
from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until, settle
from tests.support.reflecting import pod


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def server(clock: VirtualClock) -> MemoryApiServer:
    return MemoryApiServer(clock, SeededSpawner())


@pytest.fixture
def client(server: MemoryApiServer, clock: VirtualClock) -> ApiClient:
    return ApiClient(server, clock, SeededRandom())


async def finish(clock: VirtualClock, call: Any) -> Any:
    """Await a call in virtual time."""
    task = SeededSpawner().spawn(call, name="call")
    await run_until(clock, task.done, limit_s=30)
    return task.result()


def job(name: str = "j") -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "trainer", "image": "trainer"}]}}
    spec = {"accelerator": {"cpu": {"workers": 1}}, "template": template}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec}


async def test_a_lost_answer_to_a_create_creates_once(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    server.faults.lose_answer(matching("POST"))
    made = await finish(clock, client.create(PODS, "ns", pod("a", owner="o", labels={"x": "1"})))
    assert made.metadata.uid == server.all("pods")[0]["metadata"]["uid"]
    assert len(server.all("pods")) == 1


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (pod("a", owner="another", labels={"x": "1"}), "controlled by another"),
        (pod("a", labels={"x": "1"}), "without a controller"),
        (pod("a", owner="o", labels={"x": "2"}), "its labels x differ"),
    ],
    ids=["another owner", "no owner", "other labels"],
)
async def test_a_name_that_somebody_else_holds_is_told_apart(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient, held: dict[str, Any], why: str
) -> None:
    server.put("pods", held)
    with pytest.raises(NameTaken, match=why):
        await finish(clock, client.create(PODS, "ns", pod("a", owner="o", labels={"x": "1"})))


async def test_trouble_that_passes_is_waited_out(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    for status in (503, 429, 500, 0):
        server.faults.refuse(matching("POST"), ApiError(status, "Trouble", "", retry_after_s=0.2))
    await finish(clock, client.create(PODS, "ns", pod("a")))
    assert clock.elapsed < DEADLINE_S


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_refusal_is_not_repeated(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient, status: int
) -> None:
    server.faults.refuse(matching("POST"), ApiError(status, "No", "because"), times=9)
    with pytest.raises(ApiError, match="because"):
        await finish(clock, client.create(PODS, "ns", pod("a")))
    assert len(server.requests) == 1


@pytest.mark.parametrize("trouble", ["down", "slow", "retry-after"])
async def test_a_mutation_ends_within_its_deadline(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient, trouble: str
) -> None:
    if trouble == "down":
        server.faults.down = True
    elif trouble == "slow":
        server.faults.latency = lambda method, path: 60.0
    else:
        server.faults.refuse(matching("POST"), ApiError(429, "Slow", "", retry_after_s=30), times=99)
    with pytest.raises(ApiError):
        await finish(clock, client.create(PODS, "ns", pod("a")))
    assert clock.elapsed <= DEADLINE_S + 0.1


async def test_a_dry_run_refuses_fields_that_the_server_does_not_know(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, str]] = []
    inner = server.request

    async def listening(method: str, path: str, **more: Any) -> bytes:
        asked.append(more["query"])
        return await inner(method, path, **more)

    monkeypatch.setattr(server, "request", listening)
    await finish(clock, client.create(PODS, "ns", pod("a"), dry_run=True))
    await finish(clock, client.create(PODS, "ns", pod("a")))
    assert [query.get("fieldValidation") for query in asked] == ["Strict", None], "a real pod is never refused for them"


async def test_a_delete_is_exact(server: MemoryApiServer, clock: VirtualClock, client: ApiClient) -> None:
    uid = server.put("pods", pod("a"))["metadata"]["uid"]
    assert not await finish(clock, client.delete(PODS, "ns", "a", uid="that-of-an-older-one"))
    assert len(server.all("pods")) == 1
    server.faults.lose_answer(matching("DELETE"))
    assert not await finish(clock, client.delete(PODS, "ns", "a", uid=uid)), "the repetition finds it gone"
    assert server.all("pods") == []


async def test_grace_is_the_servers_own_or_ours(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    uid = server.put("pods", pod("a", nodeName="n", terminationGracePeriodSeconds=600))["metadata"]["uid"]
    await finish(clock, client.delete(PODS, "ns", "a", uid=uid))
    assert server.all("pods")[0]["metadata"]["deletionGracePeriodSeconds"] == 600
    await finish(clock, client.delete(PODS, "ns", "a", uid=uid, grace_s=30))
    assert server.all("pods")[0]["metadata"]["deletionGracePeriodSeconds"] == 30
    await finish(clock, client.delete(PODS, "ns", "a", uid=uid, grace_s=0))
    assert server.all("pods") == []


async def test_a_status_whose_answer_was_lost_is_recognised(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    version = server.put("trainingjobs", job())["metadata"]["resourceVersion"]
    server.faults.lose_answer(matching("PUT"))
    written = await finish(clock, client.replace_status(TRAINING_JOBS, "ns", "j", version, {"attempt": 1}))
    assert written.metadata.resource_version == server.all("trainingjobs")[0]["metadata"]["resourceVersion"]


async def test_a_status_is_replaced_whole_and_nothing_else_is(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    before = server.put("trainingjobs", {**job(), "status": {"attempt": 1, "message": "old"}})
    version = before["metadata"]["resourceVersion"]
    await finish(clock, client.replace_status(TRAINING_JOBS, "ns", "j", version, {"attempt": 2}))
    after = server.all("trainingjobs")[0]
    assert {key: value for key, value in after["status"].items() if value} == {"attempt": 2}
    assert after["spec"] == before["spec"]
    assert after["metadata"] == {**before["metadata"], "resourceVersion": after["metadata"]["resourceVersion"]}


@pytest.mark.parametrize("meanwhile", [{"attempt": 7}, {"attempt": 1, "message": "another"}])
async def test_a_conflict_after_a_lost_answer_is_one_where_somebody_else_was_faster(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient, meanwhile: dict[str, object]
) -> None:
    version = server.put("trainingjobs", job())["metadata"]["resourceVersion"]
    server.faults.refuse(matching("PUT"), ApiError(0, "Unreachable", ""))
    server.merge("trainingjobs", "ns", "j", {"status": meanwhile}, status=True)
    with pytest.raises(ApiError) as caught:
        await finish(clock, client.replace_status(TRAINING_JOBS, "ns", "j", version, {"attempt": 1}))
    assert caught.value.status == 409
    held = server.all("trainingjobs")[0]["status"]
    assert {key: value for key, value in held.items() if value} == meanwhile


async def test_a_patch_whose_answer_was_lost_is_recognised(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    version = server.put("trainingjobs", job())["metadata"]["resourceVersion"]
    server.faults.lose_answer(matching("PATCH"))
    body = {"metadata": {"resourceVersion": version, "finalizers": ["a.dev/b"]}}
    written = await finish(clock, client.patch(TRAINING_JOBS, "ns", "j", body))
    assert written.metadata.resource_version == server.all("trainingjobs")[0]["metadata"]["resourceVersion"]


async def test_a_dry_run_keeps_nothing(server: MemoryApiServer, clock: VirtualClock, client: ApiClient) -> None:
    await finish(clock, client.create(PODS, "ns", pod("a"), dry_run=True))
    assert server.all("pods") == []


async def test_the_gate_is_asked_before_every_attempt(server: MemoryApiServer, clock: VirtualClock) -> None:
    leads_until = clock.monotonic() + 0.5

    def gate() -> None:
        if clock.monotonic() >= leads_until:
            raise LeadershipLost("over")

    client = ApiClient(server, clock, SeededRandom(), gate=gate)
    server.faults.refuse(matching("POST"), ApiError(503, "Busy", ""), times=99)
    with pytest.raises(LeadershipLost):
        await finish(clock, client.create(PODS, "ns", pod("a")))
    assert clock.monotonic() >= leads_until
    before = len(server.requests)
    with pytest.raises(LeadershipLost):
        await finish(clock, client.delete(PODS, "ns", "a", uid="u"))
    assert len(server.requests) == before


async def test_reads_need_no_leadership(server: MemoryApiServer, clock: VirtualClock) -> None:
    def gate() -> None:
        raise LeadershipLost("never led")

    client = ApiClient(server, clock, SeededRandom(), gate=gate)
    server.put("pods", pod("a"))
    assert (await finish(clock, client.get(PODS, "ns", "a")))["metadata"]["name"] == "a"
    assert await finish(clock, client.get(PODS, "ns", "b")) is None
    await settle()


async def test_no_more_than_a_few_mutations_are_under_way_and_waiting_uses_up_no_time(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    server.faults.latency = lambda method, path: 1.5
    calls = [client.create(PODS, "ns", pod(f"p-{number}")) for number in range(4 * MUTATIONS)]
    gathered = asyncio.gather(*calls)
    await clock.advance(1)
    assert len(server.requests) == MUTATIONS
    await run_until(clock, gathered.done, limit_s=30)
    assert len(gathered.result()) == 4 * MUTATIONS, "the last ones waited longer than a whole deadline"
    assert len(server.requests) == 4 * MUTATIONS, "none was sent twice"


async def test_each_page_of_a_list_has_a_time_of_its_own(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    for number in range(2 * LIST_PAGE + 1):
        server.put("pods", pod(f"p-{number}", labels={"x": "1"}))
    server.faults.latency = lambda method, path: 20.0
    listed = SeededSpawner().spawn(client.list_headers(PODS, "ns", "x=1"), name="list")
    await run_until(clock, listed.done, limit_s=90)
    assert len(listed.result()) == 2 * LIST_PAGE + 1
    assert clock.elapsed == pytest.approx(60)
    everybody = SeededSpawner().spawn(client.identities(PODS), name="list")
    await run_until(clock, everybody.done, limit_s=90)
    version, found = everybody.result()
    assert (version, len(found)) == (str(server.store.version), 2 * LIST_PAGE + 1)


async def test_a_list_that_outlives_its_version_is_made_anew_in_one_piece(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    for number in range(LIST_PAGE + 1):
        server.put("pods", pod(f"p-{number}"))
    server.faults.latency = lambda method, path: 5.0
    listed = SeededSpawner().spawn(client.identities(PODS), name="list")
    await clock.advance(6)
    server.put("pods", pod("late"))
    server.store.compact()
    await run_until(clock, listed.done, limit_s=30)
    version, found = listed.result()
    assert (version, len(found)) == (str(server.store.version), LIST_PAGE + 2)
    assert len(server.requests) == 3


async def test_a_page_that_never_comes_ends_the_list(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    server.faults.latency = lambda method, path: 300.0
    listed = SeededSpawner().spawn(client.identities(PODS), name="list")
    await run_until(clock, listed.done, limit_s=90)
    with pytest.raises(ApiError, match="no answer"):
        listed.result()
    assert clock.elapsed == pytest.approx(PAGE_S)


async def test_lists_ask_for_no_more_than_they_read(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bytes] = []
    inner = server.request

    async def listening(method: str, path: str, **more: Any) -> bytes:
        answers.append(await inner(method, path, **more))
        return answers[-1]

    monkeypatch.setattr(server, "request", listening)
    server.put("pods", pod("a", owner="o", labels={"x": "1"}, nodeName="a-node-that-nobody-asks-for"))
    [header] = await finish(clock, client.list_headers(PODS, "ns", "x=1"))
    assert header.identity.owner_uid == "o"
    await finish(clock, client.identities(PODS))
    assert len(answers) == 2
    assert not [answer for answer in answers if b"a-node-that-nobody-asks-for" in answer]
