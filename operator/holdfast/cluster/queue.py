"""The keyed work queue: one worker a key at a time, coalescing, alarms, and a back-off of its own for every key."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

from holdfast.cluster.waiting import stop_tasks
from holdfast.seams import Clock, Random, Spawner

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0


class WorkQueue(Generic[K]):
    """First in, first out; a key that is added while it is being worked on comes again right after.

    A key is never lost: from `add` until `take` it is dirty, from `take` until `done` it is busy, and `done` puts it
    back when it became dirty meanwhile. Each key has at most one alarm, which adds it when its time has come. A key
    that rests is not taken before its rest is over.
    """

    def __init__(self, clock: Clock, random: Random, spawner: Spawner) -> None:
        self._clock = clock
        self._random = random
        self._spawner = spawner
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._dirty: dict[K, float] = {}
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._alarms: dict[K, float] = {}
        # Until when a key must not be taken, and need not; and when one that is held back for either comes into line.
        self._rests: dict[K, float] = {}
        self._patient: dict[K, float] = {}
        self._held: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = 0.0

    def __len__(self) -> int:
        """Return how many keys wait for a worker."""
        return len(self._dirty)

    @property
    def busy(self) -> int:
        """Return how many keys are being worked on."""
        return len(self._busy)

    @property
    def alarms(self) -> int:
        """Return how many keys have an alarm."""
        return len(self._alarms)

    @property
    def backing_off(self) -> int:
        """Return how many keys have failed since they last succeeded."""
        return len(self._failures)

    def waits(self, limit: int) -> list[tuple[K, float]]:
        """Return the keys that have waited longest, and for how many seconds."""
        now = self._clock.monotonic()
        return [(key, now - since) for key, since in islice(self._dirty.items(), limit)]

    def back_offs(self, limit: int) -> list[tuple[K, int, float]]:
        """Return the keys with most failures: how many, and in how many seconds they are tried again."""
        now = self._clock.monotonic()
        worst = heapq.nlargest(limit, self._failures.items(), key=lambda item: item[1])
        return [(key, failures, max(0.0, self._alarms.get(key, now) - now)) for key, failures in worst]

    def standing(self, key: K) -> dict[str, float | int | bool | None]:
        """Return where one key stands: waiting, being worked on, its failures, and when its alarm goes off."""
        now = self._clock.monotonic()
        since, due = self._dirty.get(key), self._alarms.get(key)
        return {
            "waitsSeconds": None if since is None else round(now - since, 3),
            "busy": key in self._busy,
            "failures": self._failures.get(key, 0),
            "alarmInSeconds": None if due is None else round(max(0.0, due - now), 3),
        }

    def oldest_s(self) -> float:
        """Return for how many seconds the key that has waited longest has been waiting."""
        first = next(iter(self._dirty.values()), None)
        return 0.0 if first is None else self._clock.monotonic() - first

    def add(self, key: K, *, within_s: float = 0.0) -> None:
        """Have `key` worked on as soon as possible. Adding it twice before a worker takes it counts once.

        With `within_s` it may wait that long, unless it is added with less: one turn then does for everything that
        happens to it meanwhile. So it may while it is being worked on.
        """
        now = self._clock.monotonic()
        due = now + within_s if within_s > 0 else 0.0
        if key not in self._dirty:
            self._dirty[key] = now
        elif due >= self._patient.get(key, 0.0):
            return
        if due:
            self._patient[key] = due
        else:
            self._patient.pop(key, None)
        if key not in self._busy:
            self._line_up(key)

    def alarm(self, key: K, seconds: float | None) -> None:
        """Replace the key's alarm: add the key in `seconds`, or never where that is None."""
        if seconds is None:
            self._alarms.pop(key, None)
            return
        self._set_alarm(key, self._clock.monotonic() + max(0.0, seconds))

    def retry(self, key: K, *, at_least_s: float = 0.0) -> float:
        """Add `key` after its back-off, which doubles with every call until `forget`. Return the seconds.

        The back-off replaces the key's alarm: what just failed fails again when it is tried at once. `at_least_s` is
        how long a server has asked to be left alone; more than `BACKOFF_MAX_S` is not granted.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 16)) * self._random.uniform(0.75, 1.25)
        delay = max(delay, min(at_least_s, BACKOFF_MAX_S))
        self._set_alarm(key, self._clock.monotonic() + delay)
        return delay

    def forget(self, key: K) -> None:
        """Start the key's back-off anew: it was worked on with success, or it is gone."""
        self._failures.pop(key, None)

    async def take(self) -> K:
        """Wait for the next key; the caller must call `done` with it."""
        key = await self._ready.get()
        self._dirty.pop(key, None)
        self._busy.add(key)
        return key

    def done(self, key: K, *, rest_s: float = 0.0) -> None:
        """Give a key back; if it was added meanwhile it is ready again at once, or when it has rested.

        A key that is dear to work on is added anew all the time while much happens to it: after a rest, one turn does
        for all of that.
        """
        self._busy.discard(key)
        if rest_s > 0:
            self._rests[key] = self._clock.monotonic() + rest_s
        if key in self._dirty:
            self._line_up(key)
        elif rest_s > 0:
            self._hold(key, self._rests[key])

    def clear(self) -> None:
        """Drop everything that waits, alarms and back-offs included. Keys being worked on are not touched."""
        while not self._ready.empty():
            self._ready.get_nowait()
        self._dirty.clear()
        self._failures.clear()
        self._alarms.clear()
        self._rests.clear()
        self._patient.clear()
        self._held.clear()
        self._heap.clear()

    async def close(self) -> None:
        """Stop the timer; alarms that have not gone off never will."""
        timer, self._timer = self._timer, None
        if timer is not None:
            await stop_tasks(timer)

    def _set_alarm(self, key: K, due: float) -> None:
        self._alarms[key] = due
        self._push(key, due)

    def _line_up(self, key: K) -> None:
        """Put a dirty key that nobody works on into line, or hold it back until it must be."""
        due = max(self._rests.get(key, 0.0), self._patient.get(key, 0.0))
        if due > self._clock.monotonic():
            self._hold(key, due)
        else:
            self._let_go(key)

    def _hold(self, key: K, due: float) -> None:
        self._held[key] = due
        self._push(key, due)

    def _let_go(self, key: K) -> None:
        self._held.pop(key, None)
        self._rests.pop(key, None)
        if key in self._dirty:
            self._patient.pop(key, None)
            self._ready.put_nowait(key)

    def _push(self, key: K, due: float) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        self._arm()

    def _arm(self) -> None:
        """Make sure that a timer runs which ends no later than the earliest alarm that still stands."""
        while self._heap and self._heap[0][0] not in self._dues(self._heap[0][2]):
            heapq.heappop(self._heap)
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._spawner.spawn(self._ring(due), name="queue-timer")

    async def _ring(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        self._timer = None
        now = self._clock.monotonic() + 1e-6
        while self._heap and self._heap[0][0] <= now:
            when, _, key = heapq.heappop(self._heap)
            if self._held.get(key) == when:
                self._let_go(key)
            if self._alarms.get(key) == when:
                del self._alarms[key]
                self.add(key)
        self._arm()

    def _dues(self, key: K) -> tuple[float | None, float | None]:
        return self._alarms.get(key), self._held.get(key)
