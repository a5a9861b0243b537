"""Whether the caches show an object and its pods as they are: asked once by each new leader, before it acts on them.

A watch may have been cut without notice for a minute and more. What the last leader wrote in that time is then missing
from the cache of the next one, and a plan from it would undo what has just been done.
"""

from __future__ import annotations

from holdfast.api import labels
from holdfast.app.kinds import Registration
from holdfast.app.watched import Watched
from holdfast.cluster.client import ApiClient
from holdfast.cluster.objects import Key, reached
from holdfast.planning.plan import PODS


class Currency:
    """Compares caches with the API server."""

    def __init__(self, watched: Watched, client: ApiClient) -> None:
        self._watched = watched
        self._client = client

    async def shown(self, registration: Registration, key: Key) -> bool:
        """Say whether the cache holds the object in the version of this moment or a newer one. Raises `ApiError`."""
        document = await self._client.get(registration.resource, *key)
        seen = self._watched.look_up(registration.resource, *key)
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
