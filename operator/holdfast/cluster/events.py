"""Kubernetes Events: few, never repeated within ten minutes, and never in the way of a pass."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass

from holdfast.cluster.client import ApiClient
from holdfast.planning.plan import EVENTS, EventNote, Resource
from holdfast.seams import ApiError, Clock

logger = logging.getLogger(__name__)

QUIET_S = 600.0
REMEMBERED = 4096
NOTE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that a plan is about, as events and expectations refer to it."""

    resource: Resource
    namespace: str
    name: str
    uid: str


class EventRecorder:
    """Posts `events.k8s.io/v1` events about objects. What cannot be posted is logged and forgotten."""

    def __init__(self, client: ApiClient, clock: Clock, *, controller: str, instance: str) -> None:
        self._client = client
        self._clock = clock
        self._controller = controller
        self._instance = instance
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def record(self, owner: Owner, note: EventNote) -> bool:
        """Post one event, unless the same was posted less than `QUIET_S` ago. Return whether it was posted."""
        key = (owner.uid, note.reason, note.note)
        now = self._clock.monotonic()
        told = self._told.get(key)
        if told is not None and now - told < QUIET_S:
            return False
        self._told[key] = now
        self._told.move_to_end(key)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        try:
            await self._client.create(EVENTS, owner.namespace, self._manifest(owner, note))
        except ApiError as error:
            logger.warning(
                "event.not_posted",
                extra={"fields": {"namespace": owner.namespace, "object": owner.name, "error": str(error)}},
            )
            return False
        return True

    def _manifest(self, owner: Owner, note: EventNote) -> dict[str, object]:
        at = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
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
