"""Many jobs that start at once: one question about pods for all of them, and words wait until pods are made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise

import pytest

from holdfast.app.rush import OBJECTS, PUT_OFF_S, WITHIN_S
from holdfast.planning.observed import Observed
from holdfast.planning.plan import PODS, TRAINING_JOBS, Create, EventNote, Plan, StatusWrite
from tests.cluster.test_replica import House, TwoPods
from tests.support.clock import run_until


class Teller(TwoPods):
    """Makes two pods, then says how many it sees; of a job that says so in its spec, it also tells an event."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        job = observed.object
        if job is None:
            return Plan()
        there = {pod.metadata.name for pod in observed.pods}
        names = [name for name in (f"{observed.name}-0", f"{observed.name}-1") if name not in there]
        if names:
            return Plan(actions=tuple(Create(PODS, self.pod(observed, name)) for name in names), waiting="pods")
        write = StatusWrite(
            TRAINING_JOBS, observed.namespace, observed.name, job.metadata.resource_version, job.status, {"seen": 2}
        )
        events = (EventNote("Warning", "Seen", "two pods"),) if job.spec.get("loud") else ()
        return Plan(status=write, events=events)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    made.planner = Teller()
    yield made
    for power in made.power:
        await power.stop()
        assert not power.failures


def told(house: House) -> int:
    return sum(1 for one in house.server.all("trainingjobs") if one.get("status", {}).get("seen") == 2)


async def leading(house: House) -> None:
    replica = await house.start()
    await run_until(house.clock, lambda: replica.elector.leading, limit_s=10)
    await house.clock.advance(1)


async def test_one_list_tells_of_the_pods_of_all_jobs(house: House) -> None:
    await leading(house)
    before = len([path for method, path in house.server.requests if path.endswith("/pods") and method == "GET"])
    for number in range(40):
        house.job(f"j-{number}")
    await run_until(house.clock, lambda: told(house) == 40, limit_s=30)
    after = len([path for method, path in house.server.requests if path.endswith("/pods") and method == "GET"])
    assert after - before == 1


async def test_a_few_jobs_say_at_once_that_they_run(house: House) -> None:
    await leading(house)
    for number in range(OBJECTS - 1):
        house.job(f"j-{number}")
    assert await run_until(house.clock, lambda: told(house) == OBJECTS - 1, limit_s=30) < WITHIN_S


async def test_in_a_rush_pods_come_before_words(house: House) -> None:
    await leading(house)
    for number in range(100):
        house.job(f"j-{number}")
        await house.clock.advance(0.03)
    assert len(house.server.all("pods")) >= 2 * 95
    assert told(house) < OBJECTS, "what the first ones have to say waits"
    took = await run_until(house.clock, lambda: told(house) == 100, limit_s=30)
    assert WITHIN_S / 2 < took < PUT_OFF_S / 2, "all of it is said once the rush is over"


async def test_nobody_waits_for_ever_in_a_rush_that_goes_on(house: House) -> None:
    await leading(house)
    first: dict[str, float] = {}
    made: dict[str, float] = {}
    for number in range(700):
        name = f"j-{number}"
        house.job(name)
        made[name] = house.clock.elapsed
        await house.clock.advance(0.03)
        for one in house.server.all("trainingjobs"):
            if one.get("status", {}).get("seen") == 2:
                first.setdefault(one["metadata"]["name"], house.clock.elapsed)
    waits = [first[name] - made[name] for name in list(made)[OBJECTS:200]]
    assert max(waits) < PUT_OFF_S + 2
    assert min(waits) > PUT_OFF_S / 2, "and the rush did hold them back"
    assert all(later >= earlier for earlier, later in pairwise(first.values()))


async def test_trouble_is_told_in_the_middle_of_a_rush(house: House) -> None:
    await leading(house)
    for number in range(60):
        house.job(f"j-{number}")
        await house.clock.advance(0.03)
    house.job("trouble", loud=True)
    for number in range(20):
        house.job(f"k-{number}")
        await house.clock.advance(0.03)
    assert house.status("trouble") == {"seen": 2}
    assert told(house) < OBJECTS + 2
