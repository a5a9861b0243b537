"""Whether the caches show an object and its pods as they are: asked once by each new leader, before it acts on them.

A watch may have been cut without notice for a minute and more. What the last leader wrote in that time is then missing
from the cache of the next one, and a plan from it would undo what has just been done.

One list at the begin of a term tells it of all objects. Only an object that the list and the cache do not agree about
is read by itself. A list that fails is not made again for each of the objects that wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass

from holdfast.api import labels
from holdfast.app.kinds import Registration
from holdfast.app.watched import Watched
from holdfast.cluster.client import ApiClient
from holdfast.cluster.objects import Identity, Key, reached, version_number
from holdfast.planning.plan import PODS, Resource
from holdfast.seams import ApiError, Clock

# For so long a list that has failed is not made again.
FAILED_S = 5.0

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


class Currency:
    """Compares caches with the API server."""

    def __init__(self, watched: Watched, client: ApiClient, clock: Clock) -> None:
        self._watched = watched
        self._client = client
        self._clock = clock
        self._listed: dict[Resource, _Listed] = {}
        self._failed: dict[Resource, tuple[float, ApiError]] = {}
        self._listing: defaultdict[Resource, asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self) -> None:
        """Have everything asked anew: a term has ended."""
        self._listed.clear()
        self._failed.clear()

    async def shown(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds the object in the version of this term or a newer one. Raises `ApiError`."""
        resource = registration.resource
        listed = self._listed.get(resource) or await self._list(resource)
        seen = self._watched.look_up(resource, *key)
        if seen is not None and _shows(seen, listed.objects.get(key), listed.version):
            # Each key is asked for once in a term.
            listed.objects.pop(key, None)
            return True
        return await self.shown_now(registration, key)

    async def _list(self, resource: Resource) -> _Listed:
        async with self._listing[resource]:
            if (listed := self._listed.get(resource)) is not None:
                return listed
            self._raise_if_failed(resource)
            try:
                version, found = await self._client.identities(resource)
            except ApiError as error:
                self._failed[resource] = (self._clock.monotonic(), error)
                fields = {"resource": resource.plural, "problem": str(error)}
                logger.warning("pass.list_failed", extra={"fields": fields})
                raise ListFailed(error, FAILED_S) from error
            listed = self._listed[resource] = _Listed(version, {item.key: item for item in found})
            return listed

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

    async def shows_pods(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds every pod that is labelled as the object's. Raises `ApiError`.

        Asked before pods are created: those of an older attempt must be gone, and not merely unseen.
        """
        wanted = f"{labels.MANAGED_BY}={labels.MANAGED_BY_VALUE},{registration.name_label}={key[1]}"
        for header in await self._client.list_headers(PODS, key[0], wanted):
            if self._watched.pod_by_uid(header.identity.uid) is None:
                return False
        return True


def _shows(seen: Identity, listed: Identity | None, at: str) -> bool:
    """Say whether a cached object is as new as a list that was made `at` a version: in it, or changed since."""
    if listed is not None and seen.uid == listed.uid:
        return reached(seen.version, listed.version)
    return version_number(seen.version) > version_number(at) >= 0
