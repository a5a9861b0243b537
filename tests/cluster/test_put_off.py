"""A new leader that cannot ask: one question for all who wait for the answer, and it is told after ten seconds."""

from __future__ import annotations

import asyncio
import logging

import pytest

from holdfast.app.currency import FAILED_S
from holdfast.app.operator import Replica
from holdfast.app.put_off import TOLD_AFTER_S
from holdfast.cluster.client import LIST_PAGE, PAGE_S
from holdfast.planning.plan import PODS, TRAINING_JOBS
from holdfast.seams import ApiError
from tests.support.clock import run_until
from tests.support.house import WORKERS, House
from tests.support.reflecting import pod

MANY = 200


async def starting(house: House) -> Replica:
    """Start a replica up to where its caches are filled."""
    replica = await house.start()
    for _ in iter(lambda: replica.watched.synced, True):
        await asyncio.sleep(0)
    return replica


def lists(house: House) -> int:
    return house.server.requests.count(("GET", TRAINING_JOBS.collection(None)))


def unconfirmed(replica: Replica) -> float:
    return replica.metrics.registry.get_sample_value("holdfast_unconfirmed_objects") or 0.0


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def test_a_list_that_fails_is_not_made_again_for_every_object(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for number in range(MANY):
        house.job(f"j-{number}")
    replica = await starting(house)
    before = lists(house)
    no = ApiError(403, "Forbidden", "no right to list")
    house.server.faults.refuse(
        lambda method, path: (method, path) == ("GET", TRAINING_JOBS.collection(None)), no, times=9999
    )
    await house.clock.advance(4 * FAILED_S)
    assert 4 <= lists(house) - before <= 5
    assert house.planner.shown == []
    assert unconfirmed(replica) == MANY
    told = events(caplog)
    assert 1 <= told.count("pass.held_up") <= 2
    assert 4 <= told.count("pass.list_failed") <= 5
    assert "pass.put_off" not in told, "one line a list, not one an object"
    [first, *_] = [record for record in caplog.records if record.getMessage() == "pass.held_up"]
    assert vars(first)["fields"]["objects"] == MANY
    assert "no right to list" in vars(first)["fields"]["problem"]

    house.server.faults.reset()
    took = await run_until(house.clock, lambda: len(house.server.all("pods")) == 2 * MANY, limit_s=30)
    assert took < FAILED_S + 5, "nobody has backed off for long"
    assert unconfirmed(replica) == 0


async def test_a_list_that_hangs_is_told_before_it_ends(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    house.job()
    replica = await starting(house)
    house.server.faults.latency = lambda method, path: 60.0 if path == TRAINING_JOBS.collection(None) else 0.0
    await house.clock.advance(TOLD_AFTER_S - 1)
    assert unconfirmed(replica) == 0
    assert "pass.held_up" not in events(caplog)
    await house.clock.advance(TOLD_AFTER_S + 2)
    assert unconfirmed(replica) == 1
    assert "pass.held_up" in events(caplog)
    assert "pass.list_failed" not in events(caplog)
    await house.clock.advance(PAGE_S)
    assert "pass.list_failed" in events(caplog)


async def test_a_term_begins_however_long_each_page_of_its_list_takes(house: House) -> None:
    house.planner.idle = True
    number = 2 * LIST_PAGE + 1
    for count in range(number):
        house.job(f"j-{count}")
    await starting(house)
    house.server.faults.latency = lambda method, path: 20.0 if path == TRAINING_JOBS.collection(None) else 0.0
    await run_until(house.clock, lambda: len(house.planner.shown) >= number, limit_s=90)
    assert 60 <= house.clock.elapsed < 70


async def test_a_job_with_thousands_of_pods_starts_however_long_each_page_of_them_takes(house: House) -> None:
    uid = house.job()["metadata"]["uid"]
    labelled = house.planner.pod_of("ns", "j", uid, "p")["metadata"]["labels"]
    for count in range(2 * LIST_PAGE):
        house.server.put("pods", pod(f"p-{count}", owner=uid, labels=labelled))
    await starting(house)
    house.server.faults.latency = lambda method, path: (
        20.0 if path == PODS.collection(None) and method == "GET" else 0.0
    )
    await run_until(house.clock, lambda: len(house.server.all("pods")) == 2 * LIST_PAGE + 2, limit_s=60)
    assert house.clock.elapsed >= 40


async def test_a_job_whose_pods_cannot_be_listed_is_told_of(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    house.job()
    replica = await starting(house)
    busy = ApiError(503, "Busy", "busy", retry_after_s=60)
    house.server.faults.refuse(lambda method, path: (method, path) == ("GET", PODS.collection(None)), busy, times=9999)
    await house.clock.advance(2 * TOLD_AFTER_S + 2)
    assert unconfirmed(replica) == 1
    assert "pass.held_up" in events(caplog)
    memory = next(iter(replica.reconciler.memories().values()))
    assert memory.put_off is not None
    assert "busy" in memory.put_off.problem
    house.server.faults.reset()
    await house.until(seen=2)
    assert unconfirmed(replica) == 0


async def test_a_list_that_takes_long_does_not_hold_all_workers(house: House) -> None:
    await starting(house)
    await house.clock.advance(2)
    house.server.faults.latency = lambda method, path: 60.0 if (method, path) == ("GET", PODS.collection(None)) else 0.0
    for number in range(3 * WORKERS):
        house.job(f"new-{number}")
    await house.clock.advance(0.5)
    lone = house.job("lone")["metadata"]["uid"]
    for number in range(2):
        house.server.put("pods", house.planner.pod_of("ns", "lone", lone, f"lone-{number}"))
    assert await house.until(name="lone", seen=2) < 4, "and the list takes a minute"
