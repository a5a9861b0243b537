"""Two jobs that are planned at the same moment do not both choose the one free pool."""

from __future__ import annotations

from datetime import datetime

from holdfast.planning.observed import Observed
from holdfast.planning.plan import PODS, Create, Plan
from holdfast.seams import ApiError
from holdfast.training.pools import NODE_POOL
from tests.support.house import House, TwoPods


class OnePool(TwoPods):
    """Pins a pod to the only pool while nobody else has it."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        if observed.object is None or observed.pods or "pool" in observed.occupied_pools:
            return Plan(waiting="pool")
        manifest = self.pod(observed, f"{observed.name}-0")
        return Plan(actions=(Create(PODS, {**manifest, "spec": {"nodeSelector": {NODE_POOL: "pool"}}}),))


class OnceThenNever(OnePool):
    """Job `a` wants the pool until it was refused once."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        return Plan() if observed.name == "a" and observed.refusals else super().plan(observed, now)


async def test_one_free_pool_goes_to_one_of_many_jobs() -> None:
    house = House()
    house.planner = OnePool()
    house.server.faults.latency = lambda method, path: 0.5
    for name in "abcd":
        house.job(name)
    await house.start()
    await house.clock.advance(30)
    assert len(house.server.all("pods")) == 1
    await house.power[0].stop()


async def test_a_pool_goes_to_the_next_job_when_the_first_is_gone() -> None:
    house = House()
    house.planner = OnePool()
    house.job("a")
    await house.start()
    await house.clock.advance(5)
    house.server.remove("trainingjobs", "ns", "a")
    house.server.remove("pods", "ns", "a-0")
    house.job("b")
    await house.clock.advance(30)
    assert [pod["metadata"]["name"] for pod in house.server.all("pods")] == ["b-0"]
    await house.power[0].stop()


async def test_who_waits_for_a_pool_is_woken_when_a_plan_gives_it_up() -> None:
    house = House()
    house.planner = OnceThenNever()
    house.server.faults.latency = lambda method, path: 0.5 if method == "POST" else 0.0
    house.server.store.deny = lambda info, document: (
        ApiError(403, "Forbidden", "quota") if document["metadata"]["name"] == "a-0" else None
    )
    house.job("a")
    house.job("b")
    await house.start()
    await house.clock.advance(30)
    assert [pod["metadata"]["name"] for pod in house.server.all("pods")] == ["b-0"]
    await house.power[0].stop()
