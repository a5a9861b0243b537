"""What this process uses of its machine, and how late its event loop runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from pathlib import Path

from holdfast.seams import Clock

BEAT_S = 1.0
REMEMBERED_S = 60.0
# A loop that is late once had much to do; one that is late at every beat serves nobody.
LATE_S = 5.0
LATE_BEATS = 6
TELL_S = 2.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """A task that wants to run every second, and notes how much later it did."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due = clock.monotonic()
        self._late: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._due = self._clock.monotonic() + BEAT_S
            await self._clock.sleep(BEAT_S)
            now = self._clock.monotonic()
            late = max(0.0, now - self._due)
            self._late.append((now, late))
            while self._late[0][0] < now - REMEMBERED_S:
                self._late.popleft()
            if late >= TELL_S:
                logger.warning("loop.late", extra={"fields": {"seconds": round(late, 3)}})

    def worst_s(self) -> float:
        """Return how late a beat was at worst within the last minute, the one that is due now included."""
        return max([self._overdue_s(), *(late for _, late in self._late)])

    def stalled_s(self) -> float:
        """Return how late every one of the last beats was at least; 0 while one of them was in time."""
        lates = [late for _, late in self._late][-LATE_BEATS:]
        steady = min(lates) if len(lates) == LATE_BEATS else 0.0
        # A beat that never comes is late by itself.
        overdue = self._overdue_s()
        return max(steady, overdue) if max(steady, overdue / LATE_BEATS) > LATE_S else 0.0

    def _overdue_s(self) -> float:
        return max(0.0, self._clock.monotonic() - self._due)


def tasks() -> dict[str, int]:
    """Return how many tasks of the running loop there are, by name without the number at its end."""
    return dict(Counter(task.get_name().rstrip("0123456789").rstrip("-") for task in asyncio.all_tasks()))


def task_count() -> float:
    """Return how many tasks the running loop has."""
    return float(len(asyncio.all_tasks()))


def threads() -> float:
    """Return how many threads the process has."""
    return float(threading.active_count())


def sockets() -> float:
    """Return how many sockets the process has open, 0 where the system does not tell."""
    count = 0
    try:
        for entry in Path("/proc/self/fd").iterdir():
            try:
                count += str(entry.readlink()).startswith("socket:")
            except OSError:
                # Closed meanwhile.
                continue
    except OSError:
        return 0.0
    return float(count)
