"""A plan is carried out in its order, as far as it goes, and what the server says comes back as facts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from holdfast.cluster.apply import Applier, ApplyResult
from holdfast.cluster.client import ApiClient, LeadershipLost
from holdfast.cluster.events import SERIES_S, EventRecorder, Owner
from holdfast.cluster.expectations import Expectations
from holdfast.cluster.objects import Identity
from holdfast.planning.plan import (
    PODS,
    SERVICES,
    TRAINING_JOBS,
    Create,
    Delete,
    DryRun,
    EventNote,
    Patch,
    Plan,
    StatusWrite,
)
from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.apiserver_paths import ResourceInfo
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until
from tests.support.reflecting import pod


class Bench:
    """An applier on an API server that holds one job."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.spawner = SeededSpawner()
        self.server = MemoryApiServer(self.clock, self.spawner, any_shape=True)
        self.leads = True
        self.client = ApiClient(self.server, self.clock, SeededRandom(), gate=self._gate)
        self.recorder = EventRecorder(self.client, self.clock, controller="holdfast.dev/operator", instance="op-0")
        self.use(Expectations(self.clock, lambda *place: None, (PODS,)))
        self.job = self.server.put("trainingjobs", {"metadata": {"name": "j", "namespace": "ns"}, "spec": {}})
        self.owner = Owner(TRAINING_JOBS, "ns", "j", self.job["metadata"]["uid"])

    def use(self, expectations: Expectations) -> None:
        self.expectations = expectations
        self.applier = Applier(self.client, expectations, self.recorder, self.clock, self.spawner)

    async def apply(self, plan: Plan) -> ApplyResult:
        task = self.spawner.spawn(self.applier.apply(plan, self.owner), name="apply")
        await run_until(self.clock, task.done, limit_s=60)
        return task.result()

    def status(self, wanted: dict[str, Any], observed: dict[str, Any] | None = None) -> StatusWrite:
        version = self.job["metadata"]["resourceVersion"]
        return StatusWrite(TRAINING_JOBS, "ns", "j", version, observed or {}, wanted)

    def held(self) -> dict[str, Any]:
        found = self.server.find("trainingjobs", "ns", "j")
        assert found is not None
        status: dict[str, Any] = found.get("status", {})
        return status

    def create(self, name: str) -> Create:
        return Create(PODS, pod(name, owner=self.owner.uid))

    def _gate(self) -> None:
        if not self.leads:
            raise LeadershipLost("not the leader")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.spawner.stop()


async def test_the_order_of_a_whole_plan(bench: Bench) -> None:
    old = bench.server.put("pods", pod("old", owner=bench.owner.uid))
    bench.server.put("services", {"metadata": {"name": "s", "namespace": "ns"}, "spec": {"selector": {"a": "1"}}})
    bench.server.requests.clear()
    plan = Plan(
        write_ahead=bench.status({"attempt": 2}),
        dry_run=DryRun(PODS, pod("probe"), "7"),
        actions=(
            Delete(PODS, "ns", "old", old["metadata"]["uid"]),
            Patch(SERVICES, "ns", "s", {"spec": {"selector": {"a": "2"}}}),
            bench.create("new"),
        ),
        status=bench.status({"attempt": 2, "phase": "Starting"}),
        events=(EventNote("Normal", "Started", "It begins."),),
    )
    result = await bench.apply(plan)
    assert result.complete
    assert [method for method, _ in bench.server.requests] == [
        "PUT", "POST", "DELETE", "PATCH", "POST", "PUT", "POST"
    ]  # fmt: skip
    assert bench.held() == {"attempt": 2, "phase": "Starting"}
    assert [item["metadata"]["name"] for item in bench.server.all("pods")] == ["new"]
    assert result.dry_run is not None
    assert result.dry_run.accepted
    assert result.dry_run.key == "7"
    event = bench.server.all("events")[0]
    assert event["regarding"]["uid"] == bench.owner.uid
    assert (event["reason"], event["note"], event["reportingInstance"]) == ("Started", "It begins.", "op-0")


async def test_a_write_ahead_from_an_old_view_ends_the_pass_before_anything_else(bench: Bench) -> None:
    bench.server.merge("trainingjobs", "ns", "j", {"status": {"attempt": 5}}, status=True)
    result = await bench.apply(Plan(write_ahead=bench.status({"attempt": 2}), actions=(bench.create("a"),)))
    assert result.conflict
    assert bench.server.all("pods") == []
    assert bench.held() == {"attempt": 5}


@pytest.mark.parametrize("settled", [True, False])
async def test_what_a_settled_plan_has_written_is_known_when_it_is_seen(bench: Bench, settled: bool) -> None:
    before = Identity("ns", "j", bench.owner.uid, bench.job["metadata"]["resourceVersion"])
    expectations = Expectations(bench.clock, lambda *place: before, (PODS, TRAINING_JOBS))
    bench.use(expectations)
    await bench.apply(Plan(write_ahead=bench.status({"attempt": 2}), settled=settled))
    ahead = bench.server.all("trainingjobs")[0]["metadata"]["resourceVersion"]
    assert not expectations.is_echo(bench.owner.uid, TRAINING_JOBS, before._replace(version=ahead))
    bench.job = bench.server.all("trainingjobs")[0]
    await bench.apply(Plan(status=bench.status({"attempt": 3}), settled=settled))
    written = bench.server.all("trainingjobs")[0]["metadata"]["resourceVersion"]
    assert expectations.is_echo(bench.owner.uid, TRAINING_JOBS, before._replace(version=written)) is settled
    assert not expectations.is_echo("another", TRAINING_JOBS, before._replace(uid="another", version=written))


async def test_nothing_is_written_where_nothing_differs(bench: Bench) -> None:
    same = {"phase": "Running", "list": [{"a": 1}], "deep": {"x": 1}}
    wanted = {"phase": "Running", "list": [{"a": 1, "gone": None}], "deep": {"x": 1, "y": None}, "none": None}
    result = await bench.apply(Plan(status=bench.status(wanted, same)))
    assert result.complete
    assert result.writes == 0
    assert bench.server.requests == []


async def test_a_status_loses_keys_that_are_wanted_no_more(bench: Bench) -> None:
    bench.job = bench.server.merge("trainingjobs", "ns", "j", {"status": {"a": 1, "b": {"c": 1, "d": 2}}}, status=True)
    await bench.apply(Plan(status=bench.status({"b": {"d": 2}}, bench.held())))
    assert bench.held() == {"b": {"d": 2}}


async def test_creates_are_side_by_side_and_bounded(bench: Bench) -> None:
    running = peak = 0

    def latency(method: str, path: str) -> float:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        return 1.0

    bench.server.faults.latency = latency
    bench.server.store.listeners.append(lambda change: _decrement())

    def _decrement() -> None:
        nonlocal running
        running -= 1

    names = [f"p-{number:03}" for number in range(100)]
    result = await bench.apply(Plan(actions=tuple(bench.create(name) for name in names)))
    assert result.complete
    assert len(bench.server.all("pods")) == 100
    assert 16 < peak <= 32
    assert bench.clock.elapsed < 5, "the first eight, and then none waits for a slower one beside it"


async def test_refusals_come_back_and_stop_the_flood(bench: Bench) -> None:
    def deny(info: ResourceInfo, document: dict[str, Any]) -> ApiError | None:
        return ApiError(403, "Forbidden", "exceeded quota: pods") if info.plural == "pods" else None

    bench.server.store.deny = deny
    creates = tuple(bench.create(f"p-{number}") for number in range(200))
    result = await bench.apply(Plan(actions=creates, status=bench.status({"phase": "Pending"})))
    assert 0 < len(result.refusals) <= 8, "the first batch tells enough"
    first = result.refusals[0]
    assert (first.resource, first.name, first.code, first.reason) == (PODS, "p-0", 403, "Forbidden")
    assert "exceeded quota" in first.message
    assert not result.failures
    assert bench.held() == {"phase": "Pending"}, "the status is written all the same"
    assert bench.expectations.wait_s(bench.owner.uid) == 0


async def test_a_refusal_among_many_stops_what_is_not_under_way(bench: Bench) -> None:
    def deny(info: ResourceInfo, document: dict[str, Any]) -> ApiError | None:
        full = info.plural == "pods" and len(bench.server.all("pods")) >= 300
        return ApiError(403, "Forbidden", "exceeded quota: pods") if full else None

    bench.server.store.deny = deny
    result = await bench.apply(Plan(actions=tuple(bench.create(f"p-{number:03}") for number in range(500))))
    assert len(bench.server.all("pods")) == 300
    assert 0 < len(result.refusals) <= 32, "only those that were asked for already"
    assert result.creates == 300 + len(result.refusals)
    assert bench.expectations.wait_s(bench.owner.uid) > 0, "those that were created are waited for"


async def test_a_name_that_another_holds_is_a_refusal_of_its_own(bench: Bench) -> None:
    bench.server.put("pods", pod("a", owner="a-former-job"))
    result = await bench.apply(Plan(actions=(bench.create("a"),)))
    assert [(item.code, item.reason) for item in result.refusals] == [(409, "NameTaken")]


async def test_a_refused_dry_run_is_an_answer_and_an_unanswered_one_is_none(bench: Bench) -> None:
    question = DryRun(PODS, pod("probe"), "3")
    bench.server.faults.refuse(matching("POST"), ApiError(422, "Invalid", "spec.containers[0].imag: unknown field"))
    result = await bench.apply(Plan(dry_run=question))
    assert result.dry_run is not None
    assert (result.dry_run.code, result.dry_run.key) == (422, "3")
    assert "imag" in result.dry_run.message
    bench.server.faults.refuse(matching("POST"), ApiError(503, "Busy", ""), times=99)
    result = await bench.apply(Plan(dry_run=question))
    assert result.dry_run is None
    assert result.failures


async def test_trouble_on_the_way_leaves_later_actions_for_the_next_pass(bench: Bench) -> None:
    old = bench.server.put("pods", pod("old"))
    bench.server.faults.refuse(matching("DELETE"), ApiError(500, "Internal", "etcd"), times=99)
    actions = (Delete(PODS, "ns", "old", old["metadata"]["uid"]), bench.create("new"))
    result = await bench.apply(Plan(actions=actions, status=bench.status({"phase": "Stopping"})))
    assert result.failures
    assert [item["metadata"]["name"] for item in bench.server.all("pods")] == ["old"]
    assert bench.held() == {"phase": "Stopping"}


async def test_what_is_gone_already_counts_as_deleted(bench: Bench) -> None:
    bench.server.put("pods", pod("a"))
    actions = (Delete(PODS, "ns", "a", "of-an-older-one"), Delete(PODS, "ns", "b", "u"))
    result = await bench.apply(Plan(actions=actions))
    assert result.complete
    assert result.writes == 0
    assert len(bench.server.all("pods")) == 1


async def test_a_patch_of_an_old_version_ends_the_pass(bench: Bench) -> None:
    bench.server.put("services", {"metadata": {"name": "s", "namespace": "ns"}, "spec": {}})
    patch = Patch(SERVICES, "ns", "s", {"metadata": {"resourceVersion": "1"}, "spec": {"selector": {"a": "2"}}})
    result = await bench.apply(Plan(actions=(patch, bench.create("a")), status=bench.status({"phase": "Running"})))
    assert result.conflict
    assert bench.server.all("pods") == []
    assert bench.held() == {}


async def test_a_create_without_an_answer_stays_expected(bench: Bench) -> None:
    bench.server.faults.lose_answer(matching("POST"), times=99)
    bench.server.faults.refuse(matching("GET"), ApiError(0, "Unreachable", ""), times=99)
    result = await bench.apply(Plan(actions=(bench.create("a"),)))
    assert result.failures
    assert len(bench.server.all("pods")) == 1
    assert bench.expectations.wait_s(bench.owner.uid) > 0


async def test_an_owner_that_is_gone_is_not_an_error(bench: Bench) -> None:
    bench.server.remove("trainingjobs", "ns", "j")
    result = await bench.apply(Plan(status=bench.status({"phase": "Running"}), events=(EventNote("Normal", "A", "b"),)))
    assert result.gone
    assert not result.failures
    assert bench.server.all("events") == []


async def test_one_reason_of_one_object_is_one_event_that_counts(bench: Bench) -> None:
    for number in range(1000):
        await bench.apply(Plan(events=(EventNote("Warning", "WorkerFailed", f"Attempt {number} ended."),)))
        await bench.clock.advance(1)
    await bench.apply(Plan(events=(EventNote("Warning", "NodeLost", "Another reason."),)))
    first, other = bench.server.all("events")
    assert (first["reason"], first["note"]) == ("WorkerFailed", "Attempt 0 ended.")
    assert 940 <= first["series"]["count"] <= 1000
    assert first["series"]["lastObservedTime"] > first["eventTime"]
    assert (other["reason"], "series" in other) == ("NodeLost", False)
    patches = [path for method, path in bench.server.writes() if method == "PATCH"]
    assert len(patches) <= 1000 / 60 + 10, "a minute apart, but for the doublings"


async def test_an_event_that_comes_again_after_long_or_has_expired_is_a_new_one(bench: Bench) -> None:
    plan = Plan(events=(EventNote("Normal", "Running", "It runs."),))
    await bench.apply(plan)
    await bench.clock.advance(SERIES_S)
    await bench.apply(plan)
    assert len(bench.server.all("events")) == 2
    for event in bench.server.all("events"):
        bench.server.remove("events", "ns", event["metadata"]["name"])
    await bench.apply(plan)
    (fresh,) = bench.server.all("events")
    assert "series" not in fresh


async def test_events_are_never_in_the_way(bench: Bench) -> None:
    plan = Plan(events=(EventNote("Warning", "Stuck", "Still waiting."),))
    for method in ("POST", "PATCH"):
        bench.server.faults.refuse(matching(method, "/events"), ApiError(403, "Forbidden", "no events here"))
        assert (await bench.apply(plan)).complete
        await bench.clock.advance(SERIES_S)
        await bench.apply(plan)


async def test_notes_are_bounded_in_bytes(bench: Bench) -> None:
    await bench.apply(Plan(events=(EventNote("Warning", "R" * 300, "\u00e4" * 2000),)))
    (event,) = bench.server.all("events")
    assert len(event["note"].encode()) <= 1024
    assert len(event["reason"]) == 128


async def test_an_object_is_deleted_as_it_was_seen_or_not_at_all(bench: Bench) -> None:
    seen = bench.job["metadata"]
    go = Delete(TRAINING_JOBS, "ns", "j", seen["uid"], resource_version=seen["resourceVersion"])
    bench.server.merge("trainingjobs", "ns", "j", {"spec": {"ttlAfterFinished": "1h"}})
    assert (await bench.apply(Plan(actions=(go,)))).complete
    held = bench.server.find("trainingjobs", "ns", "j")
    assert held is not None
    fresh = replace(go, resource_version=held["metadata"]["resourceVersion"])
    await bench.apply(Plan(actions=(fresh,)))
    assert bench.server.find("trainingjobs", "ns", "j") is None


async def test_a_replica_that_does_not_lead_changes_nothing(bench: Bench) -> None:
    bench.leads = False
    with pytest.raises(LeadershipLost):
        await bench.apply(Plan(actions=(bench.create("a"), bench.create("b"))))
    assert bench.server.all("pods") == []


async def test_creates_that_meet_trouble_are_failures_and_a_no_is_a_refusal(bench: Bench) -> None:
    for status, reason in ((500, "InternalError"), (429, "TooManyRequests"), (409, "Conflict")):
        bench.server.faults.refuse(matching("POST"), ApiError(status, reason, "", retry_after_s=9.0))
        result = await bench.apply(Plan(actions=(bench.create("a"),)))
        assert ([error.status for error in result.failures], result.refusals, result.creates) == ([status], [], 0)
