"""`/debug/state` is bounded, complete, and holds nothing that must stay secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from holdfast.api import labels
from holdfast.api.wire import Commit, Report, StoreState
from holdfast.app.debug import LARGEST_PAGE, PODS_SHOWN, BadQuestion, Inside
from holdfast.app.operator import Replica
from holdfast.app.reconcile import Memory
from holdfast.app.settings import OperatorSettings
from holdfast.planning.observed import CustomObject, Metadata, Pod, PodSpec, PodStatus
from holdfast.planning.plan import PODS, TRAINING_JOBS
from tests.support.apiserver import MemoryApiServer
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until

SECRET = "hush-hush"
# As long as Kubernetes has names.
LONG = "x" * 240


def made(settings_name: str = "op-0") -> tuple[Replica, Inside, VirtualClock, MemoryApiServer]:
    clock, spawner = VirtualClock(), SeededSpawner()
    server = MemoryApiServer(clock, spawner)
    settings = OperatorSettings(
        namespace="system",
        pod_name=settings_name,
        pod_ip="10.0.0.1",
        sidecar_image="i",
        sidecar_environment={"A": SECRET},
    )
    replica = Replica(settings, server, clock, SeededRandom(), spawner)
    return replica, Inside(settings.identity, replica.engine, replica.inbox, replica.commands, clock), clock, server


def shown(answer: object) -> str:
    return orjson.dumps(answer, option=orjson.OPT_NON_STR_KEYS).decode()


def job(number: int) -> CustomObject:
    return CustomObject(
        metadata=Metadata(
            namespace=f"ns-{number % 10}", name=f"job-{number:05d}{LONG}", uid=f"uid-{number}", resource_version="1"
        ),
        spec={"template": {"env": SECRET}},
        status={"phase": "Running", "reason": "Running", "message": "m" * 1000},
    )


def pod(number: int, job_name: str, uid: str, namespace: str) -> Pod:
    marks = {
        labels.MANAGED_BY: labels.MANAGED_BY_VALUE,
        labels.JOB_NAME: job_name,
        labels.ATTEMPT: "3",
        labels.SLICE: "0",
        labels.HOST: str(number),
    }
    return Pod(
        metadata=Metadata(
            namespace=namespace, name=f"pod-{number:05d}", uid=f"pod-{number}", labels=marks, resource_version="1"
        ),
        spec=PodSpec(node_name="node-1"),
        status=PodStatus(phase="Running", message=SECRET),
    )


def report(number: int) -> Report:
    return Report(
        role="Sidecar",
        namespace="ns-0",
        job="j",
        job_uid="u",
        attempt=3,
        slot="0-0",
        pod_name=f"pod-{number:05d}",
        pod_uid=f"pod-{number}",
        sequence=1,
        phase="Watching",
        store=StoreState(ready=False, reason="StoreUnavailable", message=SECRET),
        commits=(Commit(run=1, step=10, committed_at="2030-01-01T00:00:00Z"),),
        committed=10,
    )


async def test_it_stays_small_with_fifty_thousand_pods() -> None:
    replica, inside, clock, _ = made()
    replica.watched.objects[TRAINING_JOBS].replace([job(number) for number in range(5000)])
    one = job(0)
    replica.watched.pods.replace(
        [pod(number, one.metadata.name, one.metadata.uid, one.metadata.namespace) for number in range(50_000)]
    )
    for number in range(50_000):
        replica.inbox.put(report(number))
    [registration] = replica.watched.registrations.values()
    for key in replica.watched.objects[TRAINING_JOBS].sorted_keys():
        replica.engine.queue.add((registration, key))
        replica.engine.queue.retry((registration, key))
        replica.watched.expectations.expect_created(key[1], PODS, *key)
        replica.engine.history.add("/".join(key), clock.now(), 0.1, "retry")
        waiting = ("AwaitingPods", clock.now())
        replica.reconciler._memories[(registration, key)] = Memory(waiting=waiting)
    text = shown(inside.state())
    assert len(text) < 256_000
    state = orjson.loads(text)
    assert state["caches"]["pods"]["objects"] == 50_000
    assert state["reports"]["phases"] == {"Watching": 50_000}
    assert state["objects"]["trainingjobs"]["count"] == 5000
    assert state["waiting"]["AwaitingPods"]["objects"] == 5000
    assert (state["queue"]["waiting"], len(state["queue"]["longestWaits"])) == (5000, 20)
    assert (state["expecting"]["objects"], len(state["expecting"]["sample"])) == (5000, 20)
    await replica.engine.queue.close()
    largest = shown(inside.state(LARGEST_PAGE))
    assert len(largest) < 1_000_000
    whole = shown(inside.object("ns-0", one.metadata.name))
    assert len(whole) < 256_000
    answer = orjson.loads(whole)
    assert (answer["podCount"], len(answer["pods"])) == (50_000, PODS_SHOWN)
    assert SECRET not in text + largest + whole


async def test_objects_come_in_pages_that_miss_none() -> None:
    replica, inside, _, _ = made()
    replica.watched.objects[TRAINING_JOBS].replace([job(number) for number in range(105)])
    seen: list[str] = []
    query = {"limit": "25"}
    for _ in range(5):
        page = inside.answer(query)["objects"]["trainingjobs"]  # type: ignore[index]  # JSON, untyped
        seen += [item["object"] for item in page["items"]]
        if page["after"] is None:
            break
        query = {"limit": "25", "after": page["after"]}
    assert len(seen) == len(set(seen)) == 105
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "1001"}, "limit must be a whole number from 0 to 1000"),
        ({"limit": "-1"}, "limit must be"),
        ({"limit": "x"}, "limit must be"),
        ({"object": "a"}, "object must be NAMESPACE/NAME"),
        ({"object": "a/b/c"}, "object must be NAMESPACE/NAME"),
        ({"after": "/b"}, "after must be NAMESPACE/NAME"),
        ({"name": "b"}, "name is no parameter"),
    ],
)
async def test_a_wrong_question_is_told_what_to_change(query: dict[str, str], message: str) -> None:
    _, inside, _, _ = made()
    with pytest.raises(BadQuestion, match=message):
        inside.answer(query)


async def test_an_object_that_is_not_there() -> None:
    _, inside, _, _ = made()
    with pytest.raises(LookupError, match="there is no object ns/j"):
        inside.answer({"object": "ns/j"})


async def test_one_object_shows_what_was_planned_last_and_what_it_waits_for() -> None:
    replica, inside, clock, server = made()
    await replica.start(serve=False)
    spec = {
        "accelerator": {"cpu": {"workers": 2}},
        "template": {
            "spec": {"containers": [{"name": "trainer", "image": "i", "env": [{"name": "A", "value": SECRET}]}]}
        },
    }
    server.put("trainingjobs", {"metadata": {"name": "j", "namespace": "ns"}, "spec": spec})
    await run_until(clock, lambda: len(server.all("pods")) == 2, limit_s=60)
    await clock.advance(15)
    answer = inside.answer({"object": "ns/j"})
    text = shown(answer)
    seen: dict[str, Any] = orjson.loads(text)
    assert seen["podCount"] == 2
    assert [one["slot"] for one in seen["pods"]] == ["0-0", "0-1"]
    assert seen["object"]["status"]["attempt"] == 1
    assert seen["memory"]["current"] is True
    assert seen["memory"]["waiting"]["for"]
    assert seen["memory"]["lastPass"]["waiting"] == seen["memory"]["waiting"]["for"]
    assert seen["queue"]["busy"] is False
    state = orjson.loads(shown(inside.state()))
    assert SECRET not in text + shown(state)
    assert state["leading"] is True
    assert 0 < state["lease"]["leftSeconds"] <= 10
    assert sum(one["objects"] for one in state["waiting"].values()) == 1
    assert state["passes"][0]["object"] == "trainingjobs/ns/j"
    assert state["objects"]["trainingjobs"]["items"][0]["phase"] == "Starting"
    since = datetime.fromisoformat(state["leadingSince"])
    assert since < datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=60)
    await replica.stop()
