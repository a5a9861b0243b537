"""Work before words: in a rush of starting jobs, status that only tells how far a job is waits until pods are made.

The API server is what limits a rush, and a write to a custom resource costs it as much as several pods. Each status
that waits lets jobs start that are still waiting for their pods.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from holdfast.planning.plan import Plan
from holdfast.seams import Clock

K = TypeVar("K", bound=Hashable)

# So many objects that get pods within this time are a rush.
OBJECTS = 16
WITHIN_S = 1.0
# Nobody's words wait longer than that.
PUT_OFF_S = 10.0


class Rush(Generic[K]):
    """Knows whether many objects get pods just now, and whose words wait for that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._starts: deque[float] = deque(maxlen=OBJECTS)
        self._put_off: dict[K, float] = {}

    @property
    def under_way(self) -> bool:
        """Say whether `OBJECTS` objects got pods within the last `WITHIN_S` seconds."""
        return len(self._starts) == OBJECTS and self._clock.monotonic() - self._starts[0] < WITHIN_S

    def started(self) -> None:
        """Note that an object gets its pods now."""
        self._starts.append(self._clock.monotonic())

    def put_off_s(self, key: K, plan: Plan) -> float:
        """Return for how long what the plan says may wait; 0 where it has to be done now."""
        now = self._clock.monotonic()
        if not (self.under_way and only_tells(plan)):
            self._put_off.pop(key, None)
            return 0.0
        left = self._put_off.setdefault(key, now) + PUT_OFF_S - now
        if left <= 0:
            del self._put_off[key]
        return max(0.0, left)

    def released(self) -> list[K]:
        """Return whose words waited for a rush that is over, once."""
        if not self._put_off or self.under_way:
            return []
        keys = list(self._put_off)
        self._put_off.clear()
        return keys

    def forget(self) -> None:
        """Start anew: another replica leads now."""
        self._starts.clear()
        self._put_off.clear()


def only_tells(plan: Plan) -> bool:
    """Say whether all that the plan does is one status write that nothing follows from, neither trouble nor the end."""
    return (
        plan.status is not None
        and plan.status.wanted != plan.status.observed
        and not (plan.write_ahead or plan.dry_run or plan.read or plan.actions or plan.absent)
        and not (plan.events or plan.waiting)
    )
