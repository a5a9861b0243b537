"""Health tells the truth: unhealthy where a new process would help, unready until there is something to serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from holdfast.app import series
from holdfast.app.debug import Inside
from holdfast.app.health import LEASE_STUCK_S, SILENT_S, STUCK_S
from holdfast.app.operator import Replica
from holdfast.app.process import BEAT_S, LATE_BEATS
from holdfast.app.settings import OperatorSettings
from holdfast.app.watched import STRANGERS
from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until, settle


class House:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.spawner = SeededSpawner()
        self.server = MemoryApiServer(self.clock, SeededSpawner())
        settings = OperatorSettings(
            namespace="system",
            pod_name="op-0",
            pod_ip="10.0.0.1",
            sidecar_image="image",
            report_service="holdfast-operator",
        )
        self.replica = Replica(settings, self.server, self.clock, SeededRandom(), self.spawner)

    async def start(self) -> None:
        await self.replica.start(serve=False)
        await run_until(self.clock, lambda: not self.replica.health.unready(), limit_s=30)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    await made.spawner.stop()


async def test_ready_means_that_every_cache_is_filled_and_the_authority_known(house: House) -> None:
    found = house.replica.health.unready()
    assert "the cache of pods is not filled yet" in found
    assert "the report endpoint does not listen yet" in found
    await house.start()
    assert house.replica.health.unready() == []
    assert house.replica.health.problems() == []


async def test_nothing_is_planned_before_pods_can_be_told_whom_to_trust(house: House) -> None:
    house.server.put("secrets", {"metadata": {"name": "holdfast-ca", "namespace": "system"}, "data": {}})
    await house.replica.start(serve=False)
    await house.clock.advance(60)
    assert house.replica.elector.leading
    assert house.replica.watched.synced
    assert house.replica.health.unready() == ["the report endpoint does not listen yet"]
    assert house.replica.engine._worker_tasks == []
    house.server.remove("secrets", "system", "holdfast-ca")
    await run_until(house.clock, lambda: bool(house.replica.engine._worker_tasks), limit_s=60)


async def test_an_api_server_that_is_away_for_minutes_is_no_reason_to_start_anew(house: House) -> None:
    await house.start()
    house.server.faults.down = True
    for watch in list(house.server.watches):
        watch.tear()
    await house.clock.advance(SILENT_S - 60)
    assert house.replica.health.problems() == []
    await house.clock.advance(120)
    assert any("has been silent" in problem for problem in house.replica.health.problems())


def followed(house: House) -> list[str]:
    """The words under which the watches that run are known: their tasks have them in their names."""
    names = (task.get_name() for task in house.replica.engine._tasks)
    return sorted(name.removeprefix("reflector-") for name in names if name.startswith("reflector-"))


async def test_every_watch_is_in_the_metrics_the_health_and_the_look_inside(house: House) -> None:
    replica = house.replica
    unfilled = replica.health.unready()
    await house.start()
    words = followed(house)
    assert STRANGERS in words
    assert [f"the cache of {word} is not filled yet" in unfilled for word in words] == [True] * len(words)
    house.server.faults.down = True
    for watch in list(house.server.watches):
        watch.tear()
    await house.clock.advance(SILENT_S + 60)
    for what in (series.WATCH_SILENCE, series.WATCHED_OBJECTS, series.LISTS, series.ODD_OBJECTS):
        for word in words:
            assert replica.metrics.registry.get_sample_value(what.name, {"resource": word}) is not None, (what, word)
    caches = Inside("op-0", replica.engine, replica.inbox, replica.commands, house.clock).state()["caches"]
    assert isinstance(caches, dict)
    assert sorted(caches) == words
    problems = "\n".join(replica.health.problems())
    for word in words:
        silence = replica.metrics.registry.get_sample_value(series.WATCH_SILENCE.name, {"resource": word}) or 0.0
        assert silence > SILENT_S, word
        assert caches[word]["silentSeconds"] > SILENT_S
        assert f"the watch of {word} has been silent for {silence:.0f} s" in problems


async def test_the_watch_of_pods_of_others_may_be_the_only_silent_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.start()
    request, watch = house.server.request, house.server.watch

    def refuse(query: Mapping[str, str] | None) -> None:
        if (query or {}).get("labelSelector", "").startswith("!"):
            raise ApiError(503, "ServiceUnavailable", "no")

    async def refusing_request(*words: Any, query: Mapping[str, str] | None = None, **others: Any) -> bytes:
        refuse(query)
        return await request(*words, query=query, **others)

    def refusing_watch(path: str, *, query: Mapping[str, str], idle_timeout_s: float) -> Any:
        refuse(query)
        return watch(path, query=query, idle_timeout_s=idle_timeout_s)

    monkeypatch.setattr(house.server, "request", refusing_request)
    monkeypatch.setattr(house.server, "watch", refusing_watch)
    for opened in list(house.server.watches):
        opened.tear()
    await house.clock.advance(SILENT_S + 120)
    [problem] = house.replica.health.problems()
    assert problem.startswith("the watch of strangers has been silent for ")


async def test_a_task_that_ended_is_a_problem(house: House) -> None:
    await house.start()
    task = next(task for task in house.replica.engine._tasks if task.get_name() == "reflector-pods")
    task.cancel()
    await settle()
    assert house.replica.health.problems() == ["task reflector-pods has ended"]


async def test_an_event_loop_that_is_always_late_is_a_problem(house: House) -> None:
    await house.start()
    for _ in range(LATE_BEATS):
        assert not any("event loop" in problem for problem in house.replica.health.problems())
        house.clock.jump(BEAT_S + 8)
        await settle()
    assert "the event loop is always late, now by 8 s or more" in house.replica.health.problems()
    await house.clock.advance(BEAT_S)
    assert house.replica.health.problems() == []


async def test_a_lease_whose_tries_do_not_end_is_a_problem(house: House) -> None:
    await house.start()
    never = asyncio.Event()

    async def hang(*_: object, **__: object) -> bytes:
        await never.wait()
        return b""

    house.replica.elector._request = hang  # type: ignore[method-assign]  # a try that hangs
    await house.clock.advance(LEASE_STUCK_S - 5)
    assert house.replica.health.problems() == []
    assert not house.replica.elector.leading, "the deadline does not wait for the try"
    await house.clock.advance(10)
    assert any("no try to take or renew the lease has ended" in problem for problem in house.replica.health.problems())


async def test_a_lease_that_is_always_refused_is_a_problem_in_the_end(house: House) -> None:
    await house.start()
    house.server.faults.refuse(matching("", "/leases"), ApiError(403, "Forbidden", "no"), times=100_000)
    await house.clock.advance(SILENT_S - 5)
    assert house.replica.health.problems() == []
    await house.clock.advance(10)
    [problem] = house.replica.health.problems()
    assert problem.startswith("the lease could be neither read nor renewed for 60")


async def test_a_lease_that_somebody_else_holds_is_no_problem(house: House) -> None:
    lease = {
        "metadata": {"name": "holdfast-operator", "namespace": "system"},
        "spec": {"holderIdentity": "other", "leaseDurationSeconds": 100_000, "leaseTransitions": 1},
    }
    house.server.put("leases", lease)
    await house.start()
    await house.clock.advance(2 * SILENT_S)
    assert house.replica.health.problems() == []
    assert not house.replica.elector.leading


@pytest.mark.parametrize("name", ["lease", "leadership", "heartbeat", "reflector-trainingjobs", "reflector-nodes"])
async def test_each_task_that_should_run_for_ever_is_watched(house: House, name: str) -> None:
    await house.start()
    next(task for task in house.replica.engine._tasks if task.get_name() == name).cancel()
    await settle()
    assert f"task {name} has ended" in house.replica.health.problems()


async def test_a_report_endpoint_that_died_is_a_problem(house: House) -> None:
    await house.start()
    task = house.replica.reports._task
    assert task is not None
    task.cancel()
    await settle()
    assert house.replica.health.problems() == ["the report endpoint has ended"]


async def test_a_stuck_queue_is_a_problem(house: House) -> None:
    await house.start()
    registration = next(iter(house.replica.watched.registrations.values()))
    await run_until(house.clock, lambda: bool(house.replica.engine._worker_tasks), limit_s=10)
    stuck = house.clock.monotonic()
    house.server.faults.latency = lambda method, path: 1.0
    for task in house.replica.engine._worker_tasks:
        task.cancel()
    await settle()
    house.replica.engine.queue.add((registration, ("ns", "j")))
    await house.clock.advance(STUCK_S + 1)
    assert house.clock.monotonic() - stuck > STUCK_S
    assert any("has waited" in problem for problem in house.replica.health.problems())
