"""Requests that arrive late, twice, or in another order than they were sent change nothing about what comes out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from holdfast.cluster.client import DEADLINE_S
from holdfast.planning.plan import PODS, Delete, Plan
from holdfast.seams import ApiError
from tests.cluster.test_apply import Bench
from tests.support.apiserver_faults import matching
from tests.support.clock import run_until
from tests.support.house import House
from tests.support.reflecting import pod


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.spawner.stop()


async def test_a_create_that_arrives_after_the_deadline_is_expected_all_the_same(bench: Bench) -> None:
    bench.server.faults.hold_request(matching("POST", "/pods"), 5.0, times=99)
    result = await bench.apply(Plan(actions=(bench.create("a"),)))
    assert [error.status for error in result.failures] == [0]
    assert bench.clock.elapsed <= DEADLINE_S + 0.1
    assert bench.server.all("pods") == []
    assert bench.expectations.wait_s(bench.owner.uid) > 0, "the owner is not planned from a cache without it"
    await bench.clock.advance(6)
    assert len(bench.server.all("pods")) == 1


async def test_a_status_write_that_arrives_late_undoes_nothing(bench: Bench) -> None:
    bench.server.faults.hold_request(matching("PUT", "/status"), 5.0, times=9)
    result = await bench.apply(Plan(status=bench.status({"phase": "Old"})))
    assert result.failures
    bench.server.merge("trainingjobs", "ns", "j", {"status": {"phase": "New"}}, status=True)
    await bench.clock.advance(10)
    assert bench.held() == {"phase": "New"}


async def test_a_delete_that_arrives_late_spares_the_next_object_of_that_name(bench: Bench) -> None:
    old = bench.server.put("pods", pod("a"))
    bench.server.faults.hold_request(matching("DELETE"), 5.0, times=9)
    result = await bench.apply(Plan(actions=(Delete(PODS, "ns", "a", old["metadata"]["uid"]),)))
    assert result.failures
    bench.server.remove("pods", "ns", "a")
    new = bench.server.put("pods", pod("a"))
    await bench.clock.advance(10)
    assert bench.server.find("pods", "ns", "a") == new


async def test_requests_that_are_sent_twice_on_their_way(bench: Bench) -> None:
    old = bench.server.put("pods", pod("old"))
    bench.server.faults.repeat(matching(), times=99)
    plan = Plan(actions=(bench.create("new"), Delete(PODS, "ns", "old", old["metadata"]["uid"])))
    result = await bench.apply(plan)
    assert result.complete
    assert [item["metadata"]["name"] for item in bench.server.all("pods")] == ["new"]


async def test_a_status_write_that_is_sent_twice_is_a_conflict_and_lands_once(bench: Bench) -> None:
    bench.server.faults.repeat(matching("PUT", "/status"))
    result = await bench.apply(Plan(status=bench.status({"phase": "Running"})))
    assert bench.held() == {"phase": "Running"}
    assert result.conflict, "the answer is that of the second: the next pass sees what the first one wrote"


async def test_a_server_that_asks_for_patience_gets_it(bench: Bench) -> None:
    bench.server.faults.refuse(matching("POST"), ApiError(429, "TooManyRequests", "", retry_after_s=1.0), times=2)
    result = await bench.apply(Plan(actions=(bench.create("a"),)))
    assert result.complete
    assert 2.0 <= bench.clock.elapsed < DEADLINE_S


@pytest.mark.parametrize("trouble", ["late", "reordered", "twice", "all of it"])
async def test_two_pods_stay_two_pods(house: House, trouble: str) -> None:
    faults = house.server.faults
    created: list[str] = []
    house.server.store.listeners.append(
        lambda change: (
            created.append(change.document["metadata"]["name"])
            if change.info.plural == "pods" and change.type == "ADDED"
            else None
        )
    )
    house.server.watch_lag = lambda: 1.5
    if trouble in ("late", "all of it"):
        faults.hold_request(matching("POST", "/pods"), 6.0, times=3)
    if trouble in ("reordered", "all of it"):
        faults.hold_answer(matching("POST", "/pods"), 1.5, times=3)
        faults.hold_answer(matching("PUT", "/status"), 1.0, times=2)
    if trouble in ("twice", "all of it"):
        faults.repeat(matching("POST", "/pods"), times=3)
        faults.repeat(matching("PUT", "/status"), times=2)
        faults.watch("doubled", times=4)
    house.job()
    await house.start()
    await run_until(house.clock, lambda: house.status().get("seen") == 2, limit_s=300)
    await house.clock.advance(120)
    assert sorted(created) == ["j-0", "j-1"], "each was made once"
    assert house.status()["seen"] == 2
