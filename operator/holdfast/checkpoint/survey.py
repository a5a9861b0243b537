"""What a prefix holds, from one listing: runs, their restore rounds, commits and steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.checkpoint import layout
from holdfast.checkpoint.hashing import crc32c
from holdfast.checkpoint.manifests import OK, Plan, decode
from holdfast.checkpoint.runs import read_run
from holdfast.seams import ObjectInfo, ObjectStore

_OK_CRC = crc32c(OK)


@dataclass(slots=True)
class RunView:
    """One run as the listing shows it. `steps` counts the objects of each step, committed or not."""

    plans: set[int] = field(default_factory=set)
    verdicts: dict[int, list[ObjectInfo]] = field(default_factory=dict)
    commits: dict[int, ObjectInfo] = field(default_factory=dict)
    steps: dict[int, list[ObjectInfo]] = field(default_factory=dict)


@dataclass(slots=True)
class Survey:
    """All runs below the destination."""

    runs: dict[int, RunView]

    def commits_below(self, run: int) -> bool:
        """Say whether any run before `run` holds a commit."""
        return any(view.commits for number, view in self.runs.items() if number < run)


async def take(store: ObjectStore) -> Survey:
    """List the prefix once."""
    runs: dict[int, RunView] = {}
    for info in await store.list(layout.RUNS):
        if (number := layout.parse_run(info.name)) is not None:
            runs.setdefault(number, RunView())
        elif (plan := layout.parse_plan(info.name)) is not None:
            runs.setdefault(plan[0], RunView()).plans.add(plan[1])
        elif (verdict := layout.parse_verdict(info.name)) is not None:
            runs.setdefault(verdict[0], RunView()).verdicts.setdefault(verdict[1], []).append(info)
        elif (step := layout.parse_step(info.name)) is not None:
            view = runs.setdefault(step[0], RunView())
            view.steps.setdefault(step[1], []).append(info)
            if layout.parse_commit(info.name) is not None:
                view.commits[step[1]] = info
    return Survey(runs)


def is_ok(verdict: ObjectInfo) -> bool:
    """Tell an `Ok` verdict by its bytes, so that a thousand slots need not read each other's."""
    return verdict.size == len(OK) and verdict.crc32c == _OK_CRC


async def agreed_plan(store: ObjectStore, survey: Survey, run: int) -> Plan | None:
    """Return the plan that all slots of a run agreed on, or None. A run agrees at most once: an agreed round is its
    last, since no slot vetoed it and nothing else allows the next."""
    view = survey.runs.get(run)
    if view is None or not view.plans or not view.verdicts:
        return None
    parts = (await read_run(store, run)).parts
    for round_ in sorted(view.plans, reverse=True):
        verdicts = view.verdicts.get(round_, [])
        if len(verdicts) == parts and all(is_ok(verdict) for verdict in verdicts):
            name = layout.plan(run, round_)
            data, _ = await store.get(name)
            return decode(name, data, Plan)
    return None
