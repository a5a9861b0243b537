"""Objects whose passes are put off, because nobody says whether the caches show them as they are; and telling of them.

Such an object cannot say so in its status: who writes it would write what may not be true any more. After ten seconds
the log says it, and a metric counts it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.cluster.objects import Key
from holdfast.seams import Clock

# As long as any other wait lasts before it is told.
TOLD_AFTER_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PutOff:
    """Since when an object is not planned, and the last answer to the question whether it may be."""

    since: datetime
    problem: str = "the API server has not answered yet"


def lasting(items: Iterable[tuple[Key, PutOff | None]], now: datetime) -> list[tuple[Key, PutOff]]:
    """Return those that have lasted for long enough to be told, the oldest first."""
    before = now - timedelta(seconds=TOLD_AFTER_S)
    found = [(key, put_off) for key, put_off in items if put_off is not None and put_off.since <= before]
    return sorted(found, key=lambda item: (item[1].since, item[0]))


class Teller:
    """Writes one line for all of them, once in ten seconds while there are any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_at = clock.monotonic()

    @property
    def due(self) -> bool:
        """Say whether it is time to look again."""
        return self._clock.monotonic() - self._looked_at >= TOLD_AFTER_S

    def tell(self, items: Iterable[tuple[Key, PutOff | None]]) -> None:
        """Tell of those that last."""
        self._looked_at = self._clock.monotonic()
        now = self._clock.now()
        if not (found := lasting(items, now)):
            return
        (namespace, name), oldest = found[0]
        seconds = round((now - oldest.since).total_seconds(), 3)
        fields = {"objects": len(found), "seconds": seconds, "namespace": namespace, "object": name}
        logger.error("pass.held_up", extra={"fields": {**fields, "problem": oldest.problem}})
