"""The newest report of every pod, bounded by the pods that exist."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.api.wire import Report
from holdfast.planning.observed import Received
from holdfast.seams import Clock

# Told that a report changed something that plans read.
Listener = Callable[[Report], None]


class Inbox:
    """Holds one report a pod. A restore step and a sidecar of one pod follow each other and share the place.

    Every report is stored; listeners hear only of those that say something new.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._newest: dict[str, Received] = {}
        self._listeners: list[Listener] = []
        self.accepted = 0
        self.stale = 0

    def __len__(self) -> int:
        """Return how many pods have reported."""
        return len(self._newest)

    def listen(self, listener: Listener) -> None:
        """Call `listener(report)` for every report that says something new."""
        self._listeners.append(listener)

    def put(self, report: Report) -> bool:
        """Take in a report. Return False where a newer one is held already (an answer was lost on the way)."""
        held = self._newest.get(report.pod_uid)
        if held is not None and _older(report, held.report):
            self.stale += 1
            return False
        self.accepted += 1
        self._newest[report.pod_uid] = Received(report, self._clock.now())
        if held is None or _news(held.report) != _news(report):
            for listener in self._listeners:
                listener(report)
        return True

    def newest(self, pod_uid: str) -> Received | None:
        """Return the newest report of a pod."""
        return self._newest.get(pod_uid)

    def all(self) -> list[Received]:
        """Return the newest report of every pod, in no order."""
        return list(self._newest.values())

    def drop(self, pod_uid: str) -> None:
        """Forget a pod that is gone."""
        self._newest.pop(pod_uid, None)

    def clear(self) -> None:
        """Forget everything: another replica leads now, and reports go there."""
        self._newest.clear()


def _older(report: Report, held: Report) -> bool:
    """Say whether `report` was overtaken by `held`.

    Sequences count within one process: a sidecar follows a restore step, and a sidecar that was started again begins at
    a low number, with phase `Starting`.
    """
    if report.role != held.role:
        return report.role == "Restore"
    return report.sequence < held.sequence and report.phase != "Starting"


def _news(report: Report) -> Report:
    """Return the report without what changes all the time and is only shown: the heartbeat and the fine progress."""
    return msgspec.structs.replace(
        report, sequence=0, progress=type(report.progress)(), step_age_s=None, pending_bytes=0
    )
