"""The chain: which commits the newest state descends from.

A run's parent is the commit that its agreed restore round names. A run without an agreed round never started a trainer
and is skipped. What a run did not descend from (an orphan that landed late, the steps that a rewind left behind, a
commit that was vetoed) is not on the chain: it is never restored from and never counted.

A commit manifest without any part manifests is no commit either: retention deletes the manifest first and the parts
after it, so this is one that landed when its step had been deleted. Retention always leaves newer commits, so the
newest one of the chain cannot be of that kind: what is missing there is damage, and must be found out as such.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from holdfast.checkpoint.manifests import CommitRef, Plan
from holdfast.checkpoint.survey import Survey


@dataclass(frozen=True, slots=True)
class Link:
    """One run of the chain: its steps up to `limit`, all where that is None, and the plan that began it."""

    run: int
    limit: int | None
    plan: Plan


class Chain:
    """The chain from run `newest` back, its own commits included, read only as far as somebody asks."""

    def __init__(self, seen: Survey, newest: int) -> None:
        self._seen = seen
        self._links: list[Link] = []
        self._next = newest
        self._limit: int | None = None
        self._newest: CommitRef | None = None

    async def head(self) -> Plan | None:
        """Return the newest agreed plan."""
        link = await self._link(0)
        return link.plan if link is not None else None

    async def fresh(self) -> bool:
        """Say whether the chain began with nothing by agreement, so that no commit at all is what it should have."""
        async for link in self.links():
            if link.plan.commit is None:
                return True
        return False

    async def links(self) -> AsyncIterator[Link]:
        """Yield the runs of the chain, the newest first."""
        index = 0
        while (link := await self._link(index)) is not None:
            yield link
            index += 1

    async def steps(self) -> AsyncIterator[CommitRef]:
        """Yield the steps of the chain, committed or not, the newest first."""
        async for link in self.links():
            for step in await self._seen.steps(link.run):
                if link.limit is None or step <= link.limit:
                    yield CommitRef(run=link.run, step=step)

    async def commits(self) -> AsyncIterator[CommitRef]:
        """Yield the commits of the chain, the newest first."""
        async for ref in self.steps():
            if await self.counts(ref):
                yield ref

    async def find(self, step: int) -> CommitRef | None:
        """Return the newest commit of a step, or None. Other steps are not looked at."""
        async for ref in self.steps():
            if ref.step == step and await self.counts(ref):
                return ref
        return None

    async def counts(self, ref: CommitRef) -> bool:
        """Say whether a step of the chain is a commit."""
        view = await self._seen.look(ref)
        return view.whole or (view.committed and ref == await self._newest_manifest())

    async def _newest_manifest(self) -> CommitRef | None:
        if self._newest is None:
            async for ref in self.steps():
                if (await self._seen.look(ref)).committed:
                    self._newest = ref
                    break
        return self._newest

    async def _link(self, index: int) -> Link | None:
        while len(self._links) <= index and self._next > 0:
            plan = await self._seen.agreed(self._next)
            if plan is not None:
                self._links.append(Link(self._next, self._limit, plan))
                self._next, self._limit = (plan.commit.run, plan.commit.step) if plan.commit else (0, None)
            elif self._limit is None:
                self._next -= 1
            else:
                # Skipped only while no run names it as its parent: a parent is a run that has commits, so it agreed.
                self._next = 0
        return self._links[index] if index < len(self._links) else None
