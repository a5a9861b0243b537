"""Deleting what is no longer needed, and nothing else.

Only the newest run deletes, after a commit of its own and a look at the fence made after that commit. It counts commits
of the chain, newest first, keeps at least two, and keeps what a restore round of the newest run names. The order is
commit manifest, parts, data, so that what is left after a crash is never a commit with missing data; the next pass
finds the rest, because a step older than all kept ones that has no commit is a remainder too.

So nothing of a step of the newest run is touched before as many newer steps of that run are committed as are kept. That
is how anybody can tell that a commit landed too late (`commit.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from holdfast.checkpoint import layout
from holdfast.checkpoint.chain import Chain
from holdfast.checkpoint.manifests import CommitRef
from holdfast.checkpoint.parallel import each
from holdfast.checkpoint.survey import Memory, Survey
from holdfast.seams import ObjectInfo, ObjectStore, Spawner

# Fewer would leave nothing to fall back to.
_FEWEST_KEPT: Final = 2
# How many objects go between two looks at the fence and at the time.
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Deleted:
    """What one pass of `retain` deleted. `finished` says that nothing is left for another one."""

    commits: tuple[CommitRef, ...]
    finished: bool


def kept_commits(keep_last: int) -> int:
    """Return how many commits of the chain are kept."""
    return max(_FEWEST_KEPT, keep_last)


async def retain(
    store: ObjectStore,
    spawner: Spawner,
    memory: Memory,
    run: int,
    keep_last: int,
    fence: Callable[[], Awaitable[None]],
    go_on: Callable[[], bool],
) -> Deleted:
    """Delete the commits beyond the `keep_last` newest of the chain, and remainders, for as long as `go_on` says so.

    The caller holds an own commit of `run`. `fence` raises where a newer run exists; it is read before each batch goes.
    """
    deleted: list[CommitRef] = []
    for ref in await _needless(Survey(store, memory), run, kept_commits(keep_last)):
        for batch in _batches(await store.list(layout.step_folder(ref.run, ref.step))):
            if not go_on():
                return Deleted(tuple(deleted), finished=False)
            await fence()
            await _delete(store, spawner, batch)
            if any(layout.parse_commit(info.name) for info in batch):
                # The manifest goes first: the step is no commit from here on.
                memory.whole.discard(ref)
                deleted.append(ref)
    return Deleted(tuple(deleted), finished=True)


async def _needless(seen: Survey, run: int, keep: int) -> list[CommitRef]:
    """Return the steps to delete: on the chain all that is older than what is kept, then what nobody will commit."""
    chain, kept, doomed = Chain(seen, run), await _named(seen, run), list[CommitRef]()
    counted = 0
    async for ref in chain.steps():
        if counted >= keep:
            doomed.append(ref)
        elif await chain.counts(ref):
            counted += 1
            kept.add(ref)
    doomed = [ref for ref in doomed if ref not in kept]
    return doomed + [ref for ref in await _remainders(seen, run) if ref not in doomed]


async def _named(seen: Survey, run: int) -> set[CommitRef]:
    """Return the commits that any restore round of the newest run names, agreed or not."""
    plans = [await seen.plan(run, round_) for round_ in (await seen.rounds(run)).plans]
    return {plan.commit for plan in plans if plan.commit is not None}


async def _remainders(seen: Survey, run: int) -> list[CommitRef]:
    """Return the steps of older runs without a commit: the fence keeps everybody from committing them."""
    found: list[CommitRef] = []
    for number in await seen.runs():
        if number < run:
            for step in await seen.steps(number):
                ref = CommitRef(run=number, step=step)
                if not (await seen.look(ref)).committed:
                    found.append(ref)
    return found


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
