"""Work before words: in a rush of starting jobs, status that only tells that a job runs waits until all run.

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

# So many objects that get pods within this time are a rush; it lasts while so many get pods or come to run.
OBJECTS = 16
WITHIN_S = 1.0
# Nobody's words wait longer than that.
PUT_OFF_S = 10.0


class Rush(Generic[K]):
    """Knows whether many objects get pods just now, and whose words wait for that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._starts: deque[float] = deque(maxlen=OBJECTS)
        # Since when there is something to say, until it is said.
        self._since: dict[K, float] = {}
        self._waiting: set[K] = set()

    @property
    def under_way(self) -> bool:
        """Say whether `OBJECTS` objects got pods or came to run within the last `WITHIN_S` seconds."""
        return len(self._starts) == OBJECTS and self._clock.monotonic() - self._starts[0] < WITHIN_S

    def started(self) -> None:
        """Note that an object has got pods, or that they run."""
        self._starts.append(self._clock.monotonic())

    def put_off_s(self, key: K, plan: Plan) -> float:
        """Return for how long what the plan says may wait; 0 where it has to be done now."""
        self._waiting.discard(key)
        if not only_tells(plan):
            return 0.0
        if not self.under_way:
            return 0.0
        if key not in self._since:
            self._since[key] = self._clock.monotonic()
            # A rush lasts until its pods run: the API server is as busy with that as with making them.
            self.started()
        left = self._since[key] + PUT_OFF_S - self._clock.monotonic()
        if left > 0:
            self._waiting.add(key)
        return max(0.0, left)

    def said(self, key: K) -> None:
        """Note that an object's plan has been carried out, or that the object is gone."""
        self._since.pop(key, None)
        self._waiting.discard(key)

    def released(self) -> list[K]:
        """Return whose words waited for a rush that is over, once."""
        if not self._waiting or self.under_way:
            return []
        keys = list(self._waiting)
        self._waiting.clear()
        return keys

    def forget(self) -> None:
        """Start anew: another replica leads now."""
        self._starts.clear()
        self._since.clear()
        self._waiting.clear()


def only_tells(plan: Plan) -> bool:
    """Say whether all that the plan does is one status write that may wait."""
    return (
        plan.may_wait
        and plan.status is not None
        and plan.status.wanted != plan.status.observed
        and not (plan.write_ahead or plan.dry_run or plan.read or plan.actions or plan.absent or plan.events)
    )
