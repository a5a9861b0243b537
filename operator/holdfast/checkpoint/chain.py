"""The chain: which commits the newest state descends from.

A run's parent is the commit that its agreed restore round names. A run without an agreed round never started a trainer
and is skipped. What a run did not descend from (an orphan that landed late, the steps that a rewind left behind, a
commit that was vetoed) is not on the chain: it is never restored from and never counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.checkpoint.manifests import CommitRef, Plan
from holdfast.checkpoint.survey import Survey, agreed_plan
from holdfast.seams import ObjectStore


@dataclass(frozen=True, slots=True)
class Chain:
    """The commits of the chain, newest first, and what is known about its ends.

    `head` is the newest agreed plan. `fresh` says that the chain began with nothing by agreement, so that no commit at
    all is what it should have when it has none.
    """

    commits: tuple[CommitRef, ...]
    head: Plan | None
    fresh: bool


async def walk(store: ObjectStore, survey: Survey, newest: int) -> Chain:
    """Walk back from run `newest`, its own commits included."""
    commits: list[CommitRef] = []
    head: Plan | None = None
    number = newest
    limit: int | None = None
    while number > 0:
        # Nothing further back can add anything once it holds no commit.
        if commits and not survey.commits_below(number + 1):
            break
        plan = await agreed_plan(store, survey, number)
        if plan is None:
            # Skipped only while no run names it as its parent: a parent is a run that has commits, so it agreed once.
            if limit is not None:
                break
            number -= 1
            continue
        head = head or plan
        steps = sorted(survey.runs[number].commits, reverse=True)
        commits += [CommitRef(run=number, step=step) for step in steps if limit is None or step <= limit]
        if plan.commit is None:
            return Chain(tuple(commits), head, fresh=True)
        number, limit = plan.commit.run, plan.commit.step
    return Chain(tuple(commits), head, fresh=False)
