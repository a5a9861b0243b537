"""Whether the cache shows an object as it is: asked once by each new leader, before it acts on the object.

A watch may have been cut without notice for a minute and more. What the last leader wrote in that time is then missing
from the cache of the next one, and a plan from it would undo what has just been done.

One list at the begin of a term tells it of all objects. Only an object that the list and the cache do not agree about
is read by itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.app.kinds import Registration
from holdfast.app.watched import Watched
from holdfast.cluster.client import ApiClient
from holdfast.cluster.objects import Identity, Key, reached, version_number
from holdfast.planning.plan import Resource


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a list of this term has shown, and its version."""

    version: str
    objects: dict[Key, Identity]


class Currency:
    """Compares caches with the API server."""

    def __init__(self, watched: Watched, client: ApiClient) -> None:
        self._watched = watched
        self._client = client
        self._listed: dict[Resource, _Listed] = {}
        self._listing = asyncio.Lock()

    def forget(self) -> None:
        """Have everything asked anew: a term has ended."""
        self._listed.clear()

    async def shown(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds the object in the version of this term or a newer one. Raises `ApiError`."""
        resource = registration.resource
        listed = self._listed.get(resource) or await self._list(resource)
        seen = self._watched.look_up(resource, *key)
        if seen is not None and _shows(seen, listed.objects.get(key), listed.version):
            # Each key is asked for once in a term.
            listed.objects.pop(key, None)
            return True
        return await self._read(resource, key)

    async def _list(self, resource: Resource) -> _Listed:
        async with self._listing:
            if (listed := self._listed.get(resource)) is None:
                version, found = await self._client.identities(resource)
                listed = self._listed[resource] = _Listed(version, {item.key: item for item in found})
            return listed

    async def _read(self, resource: Resource, key: Key) -> bool:
        document = await self._client.get(resource, *key)
        seen = self._watched.look_up(resource, *key)
        if document is None or seen is None:
            return document is None and seen is None
        metadata = document["metadata"]
        return seen.uid == str(metadata["uid"]) and reached(seen.version, str(metadata["resourceVersion"]))


def _shows(seen: Identity, listed: Identity | None, at: str) -> bool:
    """Say whether a cached object is as new as a list that was made `at` a version: in it, or changed since."""
    if listed is not None and seen.uid == listed.uid:
        return reached(seen.version, listed.version)
    return version_number(seen.version) > version_number(at) >= 0
