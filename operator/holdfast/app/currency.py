"""Whether the caches show an object and its pods as they are: asked once by each new leader, before it acts on them.

A watch may have been cut without notice for a minute and more. What the last leader wrote in that time is then missing
from the cache of the next one, and a plan from it would undo what has just been done.

One list at the begin of a term tells it of all objects, and one of all their pods. Only an object that the list and
the cache do not agree about is read by itself. A list that fails is not made again for each of the objects that wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from holdfast.app.kinds import Registration
from holdfast.app.watched import MANAGED, Watched
from holdfast.cluster.client import ApiClient
from holdfast.cluster.objects import Identity, Key, reached, version_number
from holdfast.cluster.waiting import wait_for_event
from holdfast.planning.plan import PODS, Resource
from holdfast.seams import ApiError, Clock, Spawner

# For so long a list that has failed is not made again.
FAILED_S = 5.0
# A list that takes longer than this is waited for by nobody but who makes it; the others look again after a while.
JOIN_S = 1.0
JOIN_AGAIN_S = 2.0

logger = logging.getLogger(__name__)


class ListFailed(ApiError):
    """A kind could not be listed a moment ago, whoever asked. It is tried again after `again_s`."""

    def __init__(self, error: ApiError, again_s: float) -> None:
        super().__init__(error.status, error.reason, error.message)
        self.again_s = again_s


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a list of this term has shown, and its version."""

    version: str
    objects: dict[Key, Identity]


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A list that is being made, since when, and what is set when it has ended."""

    began: float
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Currency:
    """Compares caches with the API server."""

    def __init__(self, watched: Watched, client: ApiClient, clock: Clock, spawner: Spawner) -> None:
        self._watched = watched
        self._client = client
        self._clock = clock
        self._spawner = spawner
        self._listed: dict[Resource, _Listed] = {}
        self._pods: dict[tuple[Resource, Key], list[str]] | None = None
        self._failed: dict[Resource, tuple[float, ApiError]] = {}
        self._under_way: dict[Resource, _UnderWay] = {}

    def forget(self) -> None:
        """Have everything asked anew: a term has ended."""
        self._listed.clear()
        self._pods = None
        self._failed.clear()

    async def shown(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds the object in the version of this term or a newer one. Raises `ApiError`."""
        resource = registration.resource
        listed = await self._list(resource)
        seen = self._watched.look_up(resource, *key)
        if seen is not None and _shows(seen, listed.objects.get(key), listed.version):
            # Each key is asked for once in a term.
            listed.objects.pop(key, None)
            return True
        return await self.shown_now(registration, key)

    async def _list(self, resource: Resource) -> _Listed:
        while (listed := self._listed.get(resource)) is None:
            await self._make_or_join(resource, self._list_objects)
        return listed

    async def _list_objects(self, resource: Resource) -> None:
        version, found = await self._client.identities(resource)
        self._listed[resource] = _Listed(version, {item.key: item for item in found})

    async def _list_pods(self, resource: Resource) -> None:
        found: dict[tuple[Resource, Key], list[str]] = {}
        for header in await self._client.list_headers(resource, "", MANAGED):
            for registration, key in self._watched.owners_of(header):
                found.setdefault((registration.resource, key), []).append(header.metadata.uid)
        self._pods = found

    async def _make_or_join(self, resource: Resource, make: Callable[[Resource], Awaitable[None]]) -> None:
        """Make a list, or wait for the one that is being made: a moment only, or all workers would stand still for it.

        Where it fails nobody makes it again for a while. Raises `ListFailed`.
        """
        if (other := self._under_way.get(resource)) is not None:
            left_s = other.began + JOIN_S - self._clock.monotonic()
            if not await wait_for_event(other.done, left_s, self._clock, self._spawner):
                raise ListFailed(ApiError(0, "Listing", f"{resource.plural} are being listed"), JOIN_AGAIN_S)
            return
        self._raise_if_failed(resource)
        mine = self._under_way[resource] = _UnderWay(self._clock.monotonic())
        try:
            await make(resource)
        except ApiError as error:
            self._failed[resource] = (self._clock.monotonic(), error)
            fields = {"resource": resource.plural, "problem": str(error)}
            logger.warning("pass.list_failed", extra={"fields": fields})
            raise ListFailed(error, FAILED_S) from error
        finally:
            del self._under_way[resource]
            mine.done.set()

    def _raise_if_failed(self, resource: Resource) -> None:
        """Raise `ListFailed` while the last list of a kind has failed not long ago."""
        if (failed := self._failed.get(resource)) is not None:
            at, error = failed
            if (again_s := at + FAILED_S - self._clock.monotonic()) > 0:
                raise ListFailed(error, again_s)

    async def shown_now(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds the object in the version of this moment or a newer one. Raises `ApiError`."""
        resource = registration.resource
        document = await self._client.get(resource, *key)
        seen = self._watched.look_up(resource, *key)
        if document is None or seen is None:
            return document is None and seen is None
        metadata = document["metadata"]
        return seen.uid == str(metadata["uid"]) and reached(seen.version, str(metadata["resourceVersion"]))

    def known_to_show_pods(self, registration: Registration, key: Key) -> bool:
        """Say whether the list of this term is there already, and the cache holds every pod of the object's in it."""
        if self._pods is None:
            return False
        return all(self._holds(uid) for uid in self._pods.get((registration.resource, key), ()))

    async def shows_pods(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds every pod that is labelled as the object's. Raises `ApiError`.

        Asked before pods are created: those of an older attempt must be gone, and not merely unseen. What others
        created before this term is in its list; what this replica has created since, it expects to see.
        """
        while self._pods is None:
            await self._make_or_join(PODS, self._list_pods)
        return self.known_to_show_pods(registration, key) or await self.shows_pods_now(registration, key)

    async def shows_pods_now(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds every pod that is labelled as the object's at this moment. Raises `ApiError`."""
        wanted = f"{MANAGED},{registration.name_label}={key[1]}"
        headers = await self._client.list_headers(PODS, key[0], wanted)
        return all(self._holds(header.identity.uid) for header in headers)

    def _holds(self, uid: str) -> bool:
        return self._watched.pod_by_uid(uid) is not None


def _shows(seen: Identity, listed: Identity | None, at: str) -> bool:
    """Say whether a cached object is as new as a list that was made `at` a version: in it, or changed since."""
    if listed is not None and seen.uid == listed.uid:
        return reached(seen.version, listed.version)
    return version_number(seen.version) > version_number(at) >= 0
