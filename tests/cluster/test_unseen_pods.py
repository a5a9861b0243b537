"""Pods that were made and never seen: a watch that has gone stale within a term lets no two attempts meet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from holdfast.app.operator import Replica
from holdfast.cluster.client import LeadershipLost
from holdfast.cluster.expectations import EXPIRY_S
from holdfast.cluster.lease import LeaseElector
from holdfast.planning.observed import Observed
from holdfast.planning.plan import PODS, TRAINING_JOBS, Action, Create, Delete, Plan, StatusWrite
from holdfast.seams import ApiError
from holdfast.training.plan import plan as plan_training
from tests.support.apiserver_faults import matching
from tests.support.clock import run_until
from tests.support.house import House, TwoPods
from tests.unit.training.builders import spec


class Attempts(TwoPods):
    """Wants two pods named after the attempt in the spec, once no pod of another attempt is seen."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        self.shown.append(observed)
        job = observed.object
        if job is None:
            return Plan()
        wanted = {f"{observed.name}-{job.spec['attempt']}-{number}" for number in range(2)}
        there = {pod.metadata.name: pod.metadata for pod in observed.pods}
        old = [meta for name, meta in there.items() if name not in wanted]
        actions: list[Action] = [Delete(PODS, meta.namespace, meta.name, meta.uid) for meta in old]
        if not old:
            actions = [Create(PODS, self.pod(observed, name)) for name in sorted(wanted - there.keys())]
        seen = {"seen": len(observed.pods), "attempt": job.spec["attempt"]}
        version = job.metadata.resource_version
        write = StatusWrite(TRAINING_JOBS, observed.namespace, observed.name, version, job.status, seen)
        return Plan(actions=tuple(actions), status=write)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    made.planner = Attempts()
    yield made
    for power in made.power:
        await power.stop()
        # A pass that ends because the lease is gone ends its requests in the same way.
        assert not [item for item in power.failures if not isinstance(item[1], LeadershipLost)]


def attempts_there(house: House) -> set[str]:
    return {pod["metadata"]["name"].split("-")[1] for pod in house.server.all("pods")}


def keep_apart(house: House) -> list[set[str]]:
    """Note every moment at which pods of two attempts were there."""
    met: list[set[str]] = []

    def look(_: Any) -> None:
        if len(there := attempts_there(house)) > 1:
            met.append(there)

    house.server.store.listeners.append(look)
    return met


def lists(house: House) -> int:
    """Return how often the pods of one job were asked for."""
    return house.server.requests.count(("GET", PODS.collection("ns")))


async def leading_without_hearing_of_pods(house: House) -> Replica:
    """Start a replica and let it lead with all caches filled; then the watch of pods goes silent."""
    replica = await house.start()
    await run_until(house.clock, lambda: replica.watched.synced and replica.elector.leading, limit_s=10)
    await house.clock.advance(1)
    for watch in house.server.watches:
        watch.silent = watch._target.info.plural == "pods"
    return replica


async def test_pods_whose_expectation_expired_are_asked_for_before_the_next_attempt(house: House) -> None:
    met = keep_apart(house)
    await leading_without_hearing_of_pods(house)
    house.job(attempt=1)
    await run_until(house.clock, lambda: attempts_there(house) == {"1"}, limit_s=10)
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"attempt": 2}})
    await run_until(house.clock, lambda: attempts_there(house) == {"2"}, limit_s=200)
    assert house.clock.elapsed > EXPIRY_S
    assert not met
    await house.until(seen=2, attempt=2)


async def test_pods_that_may_have_been_made_are_asked_for_before_the_next_attempt(house: House) -> None:
    met = keep_apart(house)
    await leading_without_hearing_of_pods(house)
    # They are made, and no answer says so: then there is not even an expectation.
    server_trouble = ApiError(500, "InternalError", "it was carried out all the same")
    house.server.faults.lose_answer(matching("POST", "/pods"), times=2, instead=server_trouble)
    busy = ApiError(503, "Busy", "", retry_after_s=30)
    house.server.faults.refuse(matching("GET", "/pods/j-1"), busy, times=2)
    house.job(attempt=1)
    await run_until(house.clock, lambda: attempts_there(house) == {"1"}, limit_s=10)
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"attempt": 2}})
    await run_until(house.clock, lambda: attempts_there(house) == {"2"}, limit_s=200)
    assert not met
    await house.until(seen=2, attempt=2)


async def test_an_object_whose_write_was_never_seen_is_not_planned_from_what_the_cache_shows(house: House) -> None:
    replica = await house.start()
    house.job(attempt=1)
    await house.until(seen=2, attempt=1)
    await house.clock.advance(5)
    for watch in house.server.watches:
        watch.silent = watch._target.info.plural == "trainingjobs"
    house.server.remove("pods", "ns", "j-1-0")
    await house.until(seen=1)
    await house.clock.advance(1)
    planned = len(house.planner.shown)
    await house.clock.advance(EXPIRY_S + 5)
    assert len(house.planner.shown) == planned
    assert next(iter(replica.reconciler.memories().values())).put_off is not None
    await house.until(seen=2)


async def test_attempts_whose_pods_are_seen_are_not_asked_for(house: House) -> None:
    met = keep_apart(house)
    await house.start()
    house.job(attempt=1)
    await house.until(seen=2, attempt=1)
    for attempt in range(2, 6):
        house.server.merge("trainingjobs", "ns", "j", {"spec": {"attempt": attempt}})
        await house.until(seen=2, attempt=attempt)
    assert lists(house) == 0, "the list of the term has told it"
    assert not met


async def test_a_gang_that_is_refused_again_and_again_is_not_asked_for_each_time(house: House) -> None:
    await house.start()
    house.server.store.deny = lambda info, document: (
        ApiError(403, "Forbidden", "quota") if info.plural == "pods" else None
    )
    house.job(attempt=1)
    await house.clock.advance(20)
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"attempt": 2}})
    await house.clock.advance(20)
    house.server.store.deny = lambda info, document: None
    await house.until(seen=2, attempt=2)
    assert lists(house) == 0, "the list of the term has told it"


async def test_a_pass_that_a_lapse_of_the_lease_has_cut_off_is_made_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lapses = {"left": 0}
    held = LeaseElector.gate

    def gate(elector: LeaseElector) -> None:
        """Let the lease be over for a moment: so short that it is renewed before anybody else looks."""
        if lapses["left"]:
            lapses["left"] -= 1
            raise LeadershipLost("for a moment")
        held(elector)

    monkeypatch.setattr(LeaseElector, "gate", gate)
    replica = await house.start()
    await run_until(house.clock, lambda: replica.elector.leading, limit_s=10)
    await house.clock.advance(2)
    lapses["left"] = 4
    house.job(attempt=1)
    assert await house.until(seen=2, attempt=1) < 10, "and it does not wait for what was never sent"
    assert lapses["left"] == 0


async def test_a_lease_that_is_over_does_not_make_passes_spin(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def gate(_: LeaseElector) -> None:
        raise LeadershipLost("whatever the elector says")

    monkeypatch.setattr(LeaseElector, "gate", gate)
    await house.start()
    house.job(attempt=1)
    await house.clock.advance(20)
    assert 3 <= len(house.planner.shown) < 15


async def test_what_came_while_nobody_led_is_planned_in_the_next_term(house: House) -> None:
    replica = await house.start()
    house.job(attempt=1)
    await house.until(seen=2, attempt=1)
    house.server.faults.latency = lambda method, path: 60.0 if "/leases" in path else 0.0
    await run_until(house.clock, lambda: not replica.elector.leading, limit_s=15)
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"attempt": 2}})
    house.job("k", attempt=1)
    await house.clock.advance(10)
    assert house.status("k") == {}
    house.server.faults.latency = lambda method, path: 0.0
    await house.until(seen=2, attempt=2)
    await house.until(name="k", seen=2, attempt=1)


@pytest.fixture
def kept_pods(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pods of a job that is gone stay, as they do while they use their grace."""
    monkeypatch.setattr(house.server.store, "orphaned", lambda owner: None)


@pytest.mark.usefixtures("kept_pods")
async def test_a_job_of_the_same_name_does_not_meet_pods_that_were_never_seen(house: House) -> None:
    there: list[set[str]] = []

    def look(_: Any) -> None:
        names = [pod["metadata"]["name"].split("-") for pod in house.server.all("pods")]
        there.append({attempt for job, attempt, _ in names if job == "j"})

    house.server.store.listeners.append(look)
    await leading_without_hearing_of_pods(house)
    # The list of the term is made for somebody else.
    house.job("x", attempt=2)
    await house.clock.advance(5)
    house.job(attempt=2)
    await run_until(house.clock, lambda: len(house.server.all("pods")) == 4, limit_s=10)
    house.server.remove("trainingjobs", "ns", "j")
    await house.clock.advance(1)
    house.job(attempt=1)
    await run_until(house.clock, lambda: house.status("j").get("attempt") == 1, limit_s=300)
    assert {"2"} in there
    assert {"1", "2"} not in there


class Training(TwoPods):
    """The planner of TrainingJobs."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        return plan_training(observed, now)


@pytest.mark.usefixtures("kept_pods")
@pytest.mark.parametrize("what", ["suspend", "delete"])
async def test_no_pod_is_taken_for_gone_that_was_never_seen(house: House, what: str) -> None:
    house.planner = Training()
    await leading_without_hearing_of_pods(house)
    house.job("t", **spec(runtime={"framework": "Plain"}))

    def left() -> list[Any]:
        return [pod for pod in house.server.all("pods") if not pod["metadata"].get("deletionTimestamp")]

    await run_until(house.clock, lambda: len(left()) == 2, limit_s=20)
    over: list[int] = []

    def look(_: Any) -> None:
        """Note how many pods nobody has deleted when the job says that none is left, or lets itself go."""
        job = house.server.find("trainingjobs", "ns", "t")
        if job is None or job.get("status", {}).get("phase") == "Suspended":
            over.append(len(left()))

    house.server.store.listeners.append(look)
    if what == "suspend":
        house.server.merge("trainingjobs", "ns", "t", {"spec": {"suspend": True}})
    else:
        path = TRAINING_JOBS.item("ns", "t")
        await house.server.request("DELETE", path, body=b"{}")
    await run_until(house.clock, lambda: bool(over), limit_s=400)
    assert set(over) == {0}
