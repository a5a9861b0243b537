"""What an owner's caches must show before its next pass: creations, deletions and writes that were answered already.

Watches lag behind answers. A pass that is planned from a cache which does not show the last pass's creations would
make them again. So each mutation is expected before it is sent, and the owner is planned again only when the cache
has caught up, or after `EXPIRY_S`, because an event may have been lost together with a watch.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from itertools import islice

from holdfast.cluster.objects import Identity, reached
from holdfast.planning.plan import Resource
from holdfast.seams import Clock

EXPIRY_S = 30.0

# Look into a cache: the identity now held for (resource, namespace, name), None where there is none or no cache.
Lookup = Callable[[Resource, str, str], Identity | None]


@dataclass(slots=True)
class _Pending:
    """What one owner waits for, each with the monotonic time at which it was expected."""

    created: dict[tuple[Resource, str, str], float] = field(default_factory=dict)
    deleted: dict[tuple[Resource, str], float] = field(default_factory=dict)
    written: dict[tuple[Resource, str, str], tuple[str, float]] = field(default_factory=dict)
    # A pass has been put off for this.
    asked: bool = False
    # The version of the owner that its last write has made, where nothing follows from that.
    echo: str = ""

    def since(self) -> float | None:
        times = [*self.created.values(), *self.deleted.values(), *(at for _, at in self.written.values())]
        return max(times, default=None)


class Expectations:
    """Per owner (its UID). Fed by cache listeners through `saw`, and by relists through `relisted`.

    Only resources in `watched` are ever waited for: others have no cache that could catch up.
    """

    def __init__(self, clock: Clock, lookup: Lookup, watched: Container[Resource]) -> None:
        self._clock = clock
        self._watched = watched
        self._lookup = lookup
        self._pending: dict[str, _Pending] = {}

    def __len__(self) -> int:
        """Return how many owners wait for their caches."""
        return len(self._pending)

    def expect_created(self, owner: str, resource: Resource, namespace: str, name: str) -> None:
        """Expect an object of this name to appear. Call it before the request is sent."""
        if resource in self._watched:
            self._of(owner).created[(resource, namespace, name)] = self._clock.monotonic()

    def expect_deleted(self, owner: str, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Expect the object to be marked or gone. Nothing is expected of one that is already either.

        A second delete with a shorter grace may change nothing and then never shows: it is safe to repeat instead.
        """
        seen = self._lookup(resource, namespace, name)
        if seen is not None and seen.uid == uid and not seen.deleting:
            self._of(owner).deleted[(resource, uid)] = self._clock.monotonic()

    def expect_written(
        self, owner: str, resource: Resource, namespace: str, name: str, version: str, *, settled: bool = False
    ) -> None:
        """Expect the cache to reach `version`, the one that the answer to a write named.

        `settled`: the owner itself was written, and its plan from then on is to wait for something else.
        """
        seen = self._lookup(resource, namespace, name)
        if seen is not None and not reached(seen.version, version):
            pending = self._of(owner)
            pending.written[(resource, namespace, name)] = (version, self._clock.monotonic())
            pending.echo = version if settled else ""

    def is_echo(self, owner: str, resource: Resource, identity: Identity) -> bool:
        """Say whether this version of an owner is what this process wrote last, and nothing follows from it.

        Whatever anybody else has changed since is another version, also where that is the first one that is seen.
        """
        pending = self._pending.get(owner)
        if pending is None or not pending.echo or identity.uid != owner or identity.version != pending.echo:
            return False
        return (resource, identity.namespace, identity.name) in pending.written

    def creation_failed(self, owner: str, resource: Resource, namespace: str, name: str) -> None:
        """Take an expectation back: the server said no, or the object exists already."""
        if (pending := self._pending.get(owner)) is not None:
            pending.created.pop((resource, namespace, name), None)
            self._drop_if_met(owner, pending)

    def creation_answered(self, owner: str, resource: Resource, identity: Identity) -> None:
        """Drop the expectation where the cache showed the object before the request was even sent."""
        seen = self._lookup(resource, identity.namespace, identity.name)
        if seen is not None and seen.uid == identity.uid:
            self.creation_failed(owner, resource, identity.namespace, identity.name)

    def deletion_failed(self, owner: str, resource: Resource, uid: str) -> None:
        """Take an expectation back: the server said no, or the object was gone already."""
        if (pending := self._pending.get(owner)) is not None:
            pending.deleted.pop((resource, uid), None)
            self._drop_if_met(owner, pending)

    def saw(self, owner: str, resource: Resource, identity: Identity, *, gone: bool) -> bool:
        """Note one change of a cache: an object of `owner` (or the owner itself) was seen, or seen to be gone.

        Return whether a pass was put off for the last of what was expected: it can be made now.
        """
        pending = self._pending.get(owner)
        if pending is None:
            return False
        place = (resource, identity.namespace, identity.name)
        if not gone:
            pending.created.pop(place, None)
        if gone or identity.deleting:
            pending.deleted.pop((resource, identity.uid), None)
        write = pending.written.get(place)
        if write is not None and (gone or reached(identity.version, write[0])):
            del pending.written[place]
        self._drop_if_met(owner, pending)
        return pending.asked and owner not in self._pending

    def relisted(self, resource: Resource, started_at: float) -> None:
        """Note that a list begun at monotonic `started_at` is in the cache: it shows everything answered before.

        An object that was created and deleted again between two watches never shows otherwise.
        """
        for owner, pending in list(self._pending.items()):
            pending.created = {p: at for p, at in pending.created.items() if p[0] != resource or at > started_at}
            pending.deleted = {p: at for p, at in pending.deleted.items() if p[0] != resource or at > started_at}
            pending.written = {
                p: write for p, write in pending.written.items() if p[0] != resource or write[1] > started_at
            }
            self._drop_if_met(owner, pending)

    def wait_s(self, owner: str) -> float:
        """Return 0 where the owner may be planned, else the seconds until its expectations expire."""
        if (pending := self._pending.get(owner)) is None:
            return 0.0
        pending.asked = True
        return max(0.0, self._left_s(pending))

    def expired(self, owner: str) -> bool:
        """Say, once, whether an owner may be planned only because its caches have not caught up in time.

        They may show less than there is, then, and what they do not show has to be asked for.
        """
        pending = self._pending.get(owner)
        if pending is None or self._left_s(pending) > 0:
            return False
        del self._pending[owner]
        return True

    def look(self, limit: int) -> list[dict[str, object]]:
        """Return some of the owners that wait, how much each waits for, and when it is planned all the same."""
        return [self._told(owner, pending) for owner, pending in islice(self._pending.items(), limit)]

    def look_at(self, owner: str) -> dict[str, object] | None:
        """Return the same for one owner, None where it does not wait."""
        pending = self._pending.get(owner)
        return self._told(owner, pending) if pending is not None else None

    def forget(self, owner: str) -> None:
        """Expect nothing more of an owner that is gone."""
        self._pending.pop(owner, None)

    def _told(self, owner: str, pending: _Pending) -> dict[str, object]:
        return {
            "uid": owner,
            "created": len(pending.created),
            "deleted": len(pending.deleted),
            "written": len(pending.written),
            "expiresInSeconds": round(max(0.0, self._left_s(pending)), 3),
        }

    def _left_s(self, pending: _Pending) -> float:
        return (pending.since() or 0.0) + EXPIRY_S - self._clock.monotonic()

    def _of(self, owner: str) -> _Pending:
        return self._pending.setdefault(owner, _Pending())

    def _drop_if_met(self, owner: str, pending: _Pending) -> None:
        if not (pending.created or pending.deleted or pending.written):
            self._pending.pop(owner, None)
