"""Many jobs that start at once: one question about pods for all of them, and words wait until pods are made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from holdfast.app.rush import OBJECTS, PUT_OFF_S, WITHIN_S, Rush
from holdfast.planning.observed import Observed
from holdfast.planning.plan import PODS, TRAINING_JOBS, Create, EventNote, Plan, StatusWrite
from holdfast.seams import ApiError
from holdfast.training.plan import plan as plan_training
from tests.cluster.test_replica import House, TwoPods
from tests.support.clock import VirtualClock, run_until
from tests.unit.training.builders import spec


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
        return Plan(status=write, events=events, may_wait=True)


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


class Refused(Teller):
    """Tries again every ten seconds where pods were refused."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        if observed.refusals and now - max(item.at for item in observed.refusals) < timedelta(seconds=10):
            return Plan(waiting="QuotaExceeded", requeue_after_s=10.0)
        return super().plan(observed, now)


async def test_jobs_whose_pods_are_refused_are_no_rush(house: House) -> None:
    house.planner = Refused()
    await leading(house)
    quota = ApiError(403, "Forbidden", "exceeded quota")
    house.server.store.deny = lambda info, document: (
        quota if info.plural == "pods" and document["metadata"]["name"].startswith("q") else None
    )
    for number in range(300):
        house.job(f"q-{number}")
        await house.clock.advance(0.033)
    await house.clock.advance(20)
    house.job("free")
    assert await run_until(house.clock, lambda: house.status("free") == {"seen": 2}, limit_s=30) < WITHIN_S


PLAN = Plan(status=StatusWrite(TRAINING_JOBS, "ns", "j", "1", {}, {"seen": 2}), may_wait=True)


def rush_of(rush: Rush[str]) -> None:
    for _ in range(OBJECTS):
        rush.started()


async def test_words_that_could_not_be_said_in_time_do_not_wait_anew() -> None:
    clock = VirtualClock()
    rush: Rush[str] = Rush(clock)
    rush_of(rush)
    assert rush.put_off_s("k", PLAN) == PUT_OFF_S
    await clock.advance(PUT_OFF_S)
    rush_of(rush)
    assert rush.put_off_s("k", PLAN) == 0
    await clock.advance(0.2)
    rush_of(rush)
    assert rush.put_off_s("k", PLAN) == 0, "the write of a moment ago has failed"
    rush.said("k")
    assert rush.put_off_s("k", PLAN) == PUT_OFF_S, "these are other words"


async def test_a_lull_does_not_let_words_wait_anew() -> None:
    clock = VirtualClock()
    rush: Rush[str] = Rush(clock)
    rush_of(rush)
    rush.put_off_s("k", PLAN)
    await clock.advance(4)
    assert rush.released() == ["k"]
    assert rush.released() == []
    rush_of(rush)
    assert rush.put_off_s("k", PLAN) == pytest.approx(PUT_OFF_S - 4)


class Training(TwoPods):
    """The planner of TrainingJobs."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        return plan_training(observed, now)


async def test_a_pod_that_vanishes_before_it_was_said_that_it_ran_ends_the_attempt(house: House) -> None:
    house.planner = Training()
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    house.server.put("nodes", {"metadata": {"name": "n1"}, "status": ready})
    await leading(house)
    body = spec(runtime={"framework": "Plain"})
    del body["checkpoint"]
    others = iter(range(10_000))

    async def go_on(times: int) -> None:
        for _ in range(times):
            house.job(f"r-{next(others)}", **body)
            await house.clock.advance(0.04)

    def pods() -> dict[str, str]:
        found = (one["metadata"] for one in house.server.all("pods"))
        return {meta["name"]: meta["uid"] for meta in found if meta["name"].startswith("t-")}

    house.job("t", **body)
    await run_until(house.clock, lambda: len(pods()) == 2, limit_s=10)
    first = pods()
    await go_on(40)
    started = {"name": "trainer", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    for name in first:
        house.server.merge("pods", "ns", name, {"spec": {"nodeName": "n1"}})
        running = {"phase": "Running", "containerStatuses": [started]}
        house.server.merge("pods", "ns", name, {"status": running}, status=True)
    await go_on(12)
    assert house.status("t")["phase"] == "Starting", "that it runs is not said in the rush"
    house.server.remove("pods", "ns", sorted(first)[1])
    await go_on(40)
    assert house.status("t")["attempts"][0]["cause"] == "PodDeleted"
    assert all(name not in first or uid == first[name] for name, uid in pods().items()), "no pod is made a second time"
