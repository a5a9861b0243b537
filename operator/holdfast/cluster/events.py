"""Kubernetes Events: one for an object and a reason, with a count, and never in the way of a pass."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from holdfast.cluster.client import ApiClient
from holdfast.planning.plan import EVENTS, EventNote, Resource
from holdfast.seams import ApiError, Clock

logger = logging.getLogger(__name__)

# A series ends when nothing was added to it for this long: the API server keeps events for an hour by default.
SERIES_S = 3600.0
PATCH_S = 60.0
REMEMBERED = 4096
NOTE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that a plan is about, as events and expectations refer to it."""

    resource: Resource
    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class _Series:
    """One Event that was posted, and its repetitions."""

    name: str
    posted_at: float
    seen_at: float
    count: int = 1


class EventRecorder:
    """Posts `events.k8s.io/v1` events about objects. What cannot be posted is logged and forgotten.

    What happens to one object for one reason is one Event: its first note stands (the API server takes no other), and
    repetitions raise `series.count`. Every doubling of the count is written at once, others once a minute at most.
    What is remembered is this process's own: another one begins an Event of its own.
    """

    def __init__(self, client: ApiClient, clock: Clock, *, controller: str, instance: str) -> None:
        self._client = client
        self._clock = clock
        self._controller = controller
        self._instance = instance
        self._told: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()

    async def record(self, owner: Owner, note: EventNote) -> bool:
        """Post one event, or count it where the same reason was told of the object. Return whether it was written."""
        key = (owner.uid, note.type, note.reason)
        now = self._clock.monotonic()
        series = self._told.get(key)
        if series is not None and now - series.seen_at < SERIES_S:
            series.count, series.seen_at = series.count + 1, now
            self._told.move_to_end(key)
            doubled = series.count & (series.count - 1) == 0
            if not doubled and now - series.posted_at < PATCH_S:
                return False
            series.posted_at = now
            written = await self._written(owner, self._repeat(owner, series))
            if written is not None:
                return written
        manifest = self._manifest(owner, note)
        self._told[key] = _Series(str(manifest["metadata"]["name"]), now, now)
        self._told.move_to_end(key)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return bool(await self._written(owner, self._client.create(EVENTS, owner.namespace, manifest)))

    async def _written(self, owner: Owner, request: Coroutine[Any, Any, object]) -> bool | None:
        """Return whether the event was written, None where it has expired on the server."""
        try:
            await request
        except ApiError as error:
            if error.status == 404:
                return None
            logger.warning(
                "event.not_posted",
                extra={"fields": {"namespace": owner.namespace, "object": owner.name, "error": str(error)}},
            )
            return False
        return True

    def _repeat(self, owner: Owner, series: _Series) -> Coroutine[Any, Any, object]:
        body = {"series": {"count": series.count, "lastObservedTime": self._stamp()}}
        return self._client.patch(EVENTS, owner.namespace, series.name, body)

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _manifest(self, owner: Owner, note: EventNote) -> dict[str, Any]:
        at = self._stamp()
        digest = hashlib.sha256(f"{owner.uid}/{note.reason}/{note.note}/{at}".encode()).hexdigest()[:16]
        group, version = owner.resource.group, owner.resource.version
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{owner.name[:200]}.{digest}", "namespace": owner.namespace},
            "eventTime": at,
            "type": note.type,
            "reason": note.reason[:128],
            "action": note.action[:128],
            "note": note.note.encode()[:NOTE_BYTES].decode(errors="ignore"),
            "reportingController": self._controller,
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": f"{group}/{version}" if group else version,
                "kind": owner.resource.kind,
                "namespace": owner.namespace,
                "name": owner.name,
                "uid": owner.uid,
            },
        }
