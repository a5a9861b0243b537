"""What a prefix holds, read level by level and only as far as somebody asks: runs, their restore rounds, their steps.

A step has as many objects as the trainer wrote files, so nothing here lists what is in one: whether a step is committed
is one look at its own level.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.checkpoint import layout
from holdfast.checkpoint.hashing import crc32c
from holdfast.checkpoint.manifests import OK, CommitRef, Plan, decode
from holdfast.checkpoint.runs import read_run, run_numbers
from holdfast.seams import ObjectInfo, ObjectStore

_OK_CRC = crc32c(OK)


@dataclass(frozen=True, slots=True)
class StepView:
    """One step at its own level. `whole` says that its commit manifest is there and part manifests beside it."""

    committed: bool
    whole: bool


@dataclass(slots=True)
class Rounds:
    """The restore rounds of one run."""

    plans: set[int] = field(default_factory=set)
    verdicts: dict[int, list[ObjectInfo]] = field(default_factory=dict)


@dataclass(slots=True)
class Memory:
    """What cannot become otherwise, so that the next survey of the same sidecar need not ask again.

    `whole` are commits that were seen whole: they stay so until retention deletes them, and then their folder goes.
    `agreed` are plans by run. `emptied` are older runs that hold no step: nobody can add one that counts.
    """

    whole: set[CommitRef] = field(default_factory=set)
    agreed: dict[int, Plan] = field(default_factory=dict)
    emptied: set[int] = field(default_factory=set)


class Survey:
    """One look at the runs below the destination. Each level is listed once, when it is first asked for."""

    def __init__(self, store: ObjectStore, memory: Memory | None = None) -> None:
        self.store = store
        self._memory = memory or Memory()
        self._runs: list[int] | None = None
        self._rounds: dict[int, Rounds] = {}
        self._steps: dict[int, list[int]] = {}
        self._views: dict[CommitRef, StepView] = {}

    async def runs(self) -> list[int]:
        """Return the numbers of all runs, the newest first."""
        if self._runs is None:
            self._runs = await run_numbers(self.store)
        return self._runs

    async def steps(self, run: int) -> list[int]:
        """Return the steps of a run of which anything is there, committed or not, the newest first."""
        if run in self._memory.emptied:
            return []
        if run not in self._steps:
            self._steps[run] = await step_numbers(self.store, run)
            if not self._steps[run] and run < max(await self.runs(), default=0):
                self._memory.emptied.add(run)
        return self._steps[run]

    async def look(self, ref: CommitRef) -> StepView:
        """Look at one step."""
        if ref in self._memory.whole:
            return StepView(committed=True, whole=True)
        if ref not in self._views:
            level = await self.store.list_folder(layout.step_folder(ref.run, ref.step))
            committed = any(layout.parse_commit(info.name) for info in level.objects)
            whole = committed and layout.parts_folder(ref.run, ref.step) in level.folders
            self._views[ref] = StepView(committed, whole)
            if whole:
                self._memory.whole.add(ref)
        return self._views[ref]

    async def any_commit(self, before: int) -> bool:
        """Say whether any run before `before` holds a commit, whatever state that is in."""
        for run in await self.runs():
            if run < before:
                for step in await self.steps(run):
                    if (await self.look(CommitRef(run=run, step=step))).committed:
                        return True
        return False

    async def rounds(self, run: int) -> Rounds:
        """Return the restore rounds of a run."""
        if run not in self._rounds:
            found = self._rounds[run] = Rounds()
            for info in await self.store.list(layout.restore_folder(run)):
                if (plan := layout.parse_plan(info.name)) is not None:
                    found.plans.add(plan[1])
                elif (verdict := layout.parse_verdict(info.name)) is not None:
                    found.verdicts.setdefault(verdict[1], []).append(info)
        return self._rounds[run]

    async def agreed(self, run: int) -> Plan | None:
        """Return the plan that all slots of a run agreed on, or None. A run agrees at most once: an agreed round is
        its last, since no slot vetoed it and nothing else allows the next."""
        if run not in self._memory.agreed:
            plan = await self._agreed(run)
            if plan is None:
                return None
            self._memory.agreed[run] = plan
        return self._memory.agreed[run]

    async def _agreed(self, run: int) -> Plan | None:
        seen = await self.rounds(run)
        if not seen.plans or not seen.verdicts:
            return None
        parts = (await read_run(self.store, run)).parts
        for round_ in sorted(seen.plans, reverse=True):
            verdicts = seen.verdicts.get(round_, [])
            if len(verdicts) == parts and all(is_ok(verdict) for verdict in verdicts):
                return await self.plan(run, round_)
        return None

    async def plan(self, run: int, round_: int) -> Plan:
        """Return the plan of a round that has one."""
        name = layout.plan(run, round_)
        data, _ = await self.store.get(name)
        return decode(name, data, Plan)


async def step_numbers(store: ObjectStore, run: int) -> list[int]:
    """Return the steps of a run of which anything is there, the newest first."""
    numbers = [layout.parse_step_folder(name) for name in (await store.list_folder(layout.steps_folder(run))).folders]
    return sorted((number for number in numbers if number is not None), reverse=True)


def is_ok(verdict: ObjectInfo) -> bool:
    """Tell an `Ok` verdict by its bytes, so that a thousand slots need not read each other's."""
    return verdict.size == len(OK) and verdict.crc32c == _OK_CRC
