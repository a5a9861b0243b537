"""After a plan that took long the object rests, unless the plan was only the beginning of the work."""

from __future__ import annotations

from datetime import datetime

from holdfast.planning.observed import Observed
from holdfast.planning.plan import TRAINING_JOBS, Plan, StatusWrite
from tests.support.house import House, TwoPods

PLANNING_S = 0.05
RESTS_S = 0.5


class Dear(TwoPods):
    """Takes its time for every plan, and remembers when each was begun, and how many pods it saw."""

    def __init__(self, of: House, *, write_ahead: bool = False) -> None:
        super().__init__()
        self._clock = of.clock
        self._write_ahead = write_ahead
        self.began: list[tuple[float, int]] = []

    def plan(self, observed: Observed, now: datetime) -> Plan:
        self.began.append((self._clock.elapsed, len(observed.pods)))
        self._clock.jump(PLANNING_S)
        job = observed.object
        if self._write_ahead and job is not None and "attempt" not in job.status:
            meta = job.metadata
            ahead = StatusWrite(
                TRAINING_JOBS, meta.namespace, meta.name, meta.resource_version, job.status, {"attempt": 1}
            )
            return Plan(write_ahead=ahead)
        plan = super().plan(observed, now)
        return plan if plan.dry_run is None else Plan(dry_run=plan.dry_run)


async def gaps(house: House, planner: Dear) -> tuple[float, float]:
    """Start a job; return the time to the plan that makes its pods, and from there to the one that sees them."""
    house.planner = planner
    await house.start()
    house.job()
    await house.until(seen=2)
    first = planner.began[0][0]
    made = max(at for at, pods in planner.began if pods == 0)
    seen = min(at for at, pods in planner.began if pods)
    return made - first, seen - made


async def test_what_happens_after_a_dear_plan_is_planned_when_the_object_has_rested(house: House) -> None:
    _, rested = await gaps(house, Dear(house))
    assert RESTS_S < rested < 2 * RESTS_S, "one plan for all that the pods which were made have brought"


async def test_the_work_follows_a_write_ahead_at_once(house: House) -> None:
    begun, rested = await gaps(house, Dear(house, write_ahead=True))
    assert PLANNING_S <= begun < RESTS_S
    assert rested > RESTS_S


async def test_the_work_follows_a_dry_run_at_once(house: House) -> None:
    planner = Dear(house)
    planner.ask = True
    begun, rested = await gaps(house, planner)
    assert PLANNING_S <= begun < RESTS_S
    assert rested > RESTS_S
