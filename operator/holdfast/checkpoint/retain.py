"""Deleting what is no longer needed, and nothing else.

Only the newest run deletes, after a commit of its own and a look at the fence made after that commit. It counts commits
of the chain, newest first, keeps at least two, and keeps what a restore round of the newest run names. The order is
commit manifest, parts, data, so that what is left after a crash is never a commit with missing data; the next pass
finds the rest, because a step older than all kept ones that has no commit is a remainder too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from holdfast.checkpoint import layout, survey
from holdfast.checkpoint.chain import walk
from holdfast.checkpoint.manifests import CommitRef, Plan, decode
from holdfast.checkpoint.parallel import each
from holdfast.checkpoint.survey import Survey
from holdfast.seams import ObjectInfo, ObjectStore, Spawner

# Fewer would leave nothing to fall back to.
FEWEST_KEPT = 2
# How many objects go between two looks at the fence and at the time.
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Deleted:
    """What one pass of `retain` deleted. `finished` says that nothing is left for another one."""

    commits: tuple[CommitRef, ...]
    finished: bool


async def retain(
    store: ObjectStore,
    spawner: Spawner,
    run: int,
    keep_last: int,
    fence: Callable[[], Awaitable[None]],
    go_on: Callable[[], bool],
) -> Deleted:
    """Delete the commits beyond the `keep_last` newest of the chain, and remainders, for as long as `go_on` says so.

    The caller holds an own commit of `run`. `fence` raises where a newer run exists; it is read before each batch goes.
    """
    seen = await survey.take(store)
    commits = (await walk(store, seen, run)).commits
    kept = set(commits[: max(FEWEST_KEPT, keep_last)]) | await _named(store, seen, run)
    doomed = [ref for ref in commits if ref not in kept]
    deleted: list[CommitRef] = []
    for ref in doomed:
        for batch in _batches(seen.runs[ref.run].steps[ref.step]):
            if not go_on():
                return Deleted(tuple(deleted), finished=False)
            await fence()
            await _delete(store, spawner, batch)
            # The manifest goes first: the step is no commit from here on.
            if ref not in deleted:
                deleted.append(ref)
    for objects in _remainders(seen, run, [ref.step for ref in commits if ref.run == run and ref in kept]):
        for batch in _batches(objects):
            if not go_on():
                return Deleted(tuple(deleted), finished=False)
            await fence()
            await _delete(store, spawner, batch)
    return Deleted(tuple(deleted), finished=True)


async def _named(store: ObjectStore, seen: Survey, run: int) -> set[CommitRef]:
    """Return the commits that any restore round of the newest run names, agreed or not."""
    named: set[CommitRef] = set()
    for round_ in seen.runs[run].plans:
        name = layout.plan(run, round_)
        data, _ = await store.get(name)
        commit = decode(name, data, Plan).commit
        if commit is not None:
            named.add(commit)
    return named


def _remainders(seen: Survey, run: int, kept_steps: list[int]) -> Iterator[list[ObjectInfo]]:
    """Yield the objects of steps that never will be committed: all without a commit in older runs, and in this run
    those below its oldest kept commit, once two are kept: all slots have written parts of two newer steps, and each
    slot works on one step at a time, so nobody can still be about to commit such a step."""
    oldest = min(kept_steps) if len(kept_steps) >= FEWEST_KEPT else 0
    for number, view in seen.runs.items():
        for step, objects in view.steps.items():
            if step not in view.commits and (number < run or (number == run and step < oldest)):
                yield objects


def _batches(objects: list[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    """Yield a step's objects in the order in which they may go: what is in one batch may go in any order."""
    for _, group in groupby(sorted(objects, key=lambda info: (_rank(info.name), info.name)), lambda i: _rank(i.name)):
        alike = list(group)
        for start in range(0, len(alike), _BATCH):
            yield alike[start : start + _BATCH]


async def _delete(store: ObjectStore, spawner: Spawner, batch: list[ObjectInfo]) -> None:
    async def one(info: ObjectInfo) -> None:
        await store.delete(info.name, generation=info.generation)

    await each(spawner, batch, one, name="delete")


def _rank(name: str) -> int:
    if layout.parse_commit(name) is not None:
        return 0
    return 1 if layout.parse_part(name) is not None else 2
