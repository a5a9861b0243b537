"""Virtual time: a clock that only moves when told to, a spawner with a seed, and a driver that jumps to the next timer.

A whole job's life runs in milliseconds of real time. Nothing here waits for the real clock, so a run with the same
seed takes the same path every time, as long as the code under test takes time and tasks from its seams.

    clock = VirtualClock()
    spawner = SeededSpawner(seed=7)
    spawner.spawn(service(clock), name="service")
    await run_until(clock, lambda: service.ready, limit_s=60)
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Starts at `EPOCH` and monotonic 1000.0; `advance` wakes sleepers in the order of their due times."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return 1000.0 + self._elapsed

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the test."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._sequence, future))
        await future

    def next_due(self) -> float | None:
        """Seconds until the next sleeper is due, or None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return max(0.0, self._sleepers[0][0] - self._elapsed) if self._sleepers else None

    def jump(self, seconds: float) -> None:
        """Move time and wake everybody who is due by then, without letting them run in between."""
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed + 1e-9:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    async def advance(self, seconds: float) -> None:
        """Move time by `seconds`, stopping at every timer on the way so that each runs at its own moment."""
        end = self._elapsed + seconds
        await settle()
        while (due := self.next_due()) is not None and self._elapsed + due <= end:
            self.jump(due)
            await settle()
        self.jump(max(0.0, end - self._elapsed))
        await settle()


class SeededRandom:
    """The `Random` seam from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)


class SeededSpawner:
    """Starts tasks after a seeded number of turns of the loop, so that seeds explore different orders.

    `seed=None` starts every task at once. Blocking calls run inline. `failures` holds what tasks died of, so that a
    test can assert that none did.
    """

    def __init__(self, seed: int | None = None, *, max_turns: int = 3) -> None:
        self._random = random.Random(seed) if seed is not None else None
        self._max_turns = max_turns
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failures: list[tuple[str, BaseException]] = []

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        turns = self._random.randint(0, self._max_turns) if self._random else 0
        started = _after_turns(coroutine, turns) if turns else coroutine
        task = asyncio.get_running_loop().create_task(started, name=name)
        # A task that is cancelled before its first turn never reaches the coroutine inside.
        task.add_done_callback(lambda _: coroutine.close())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def blocking(self, call: Callable[[], T]) -> T:
        return call()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append((task.get_name(), error))

    def cancel(self) -> list[asyncio.Task[Any]]:
        """Cancel everything that runs now, the caller's own task included, and return it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    async def stop(self) -> None:
        """Cancel everything that still runs: the machine is switched off."""
        while self._tasks:
            await asyncio.gather(*self.cancel(), return_exceptions=True)
            await asyncio.sleep(0)


async def _after_turns(coroutine: Coroutine[Any, Any, T], turns: int) -> T:
    for _ in range(turns):
        await asyncio.sleep(0)
    return await coroutine


async def settle() -> None:
    """Return when no other task can run without time going on.

    The loop's list of ready callbacks is looked at directly: counting turns instead would either be slow or guess.
    """
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # the loop has no public one
    await asyncio.sleep(0)
    for _ in iter(lambda: bool(ready), False):
        await asyncio.sleep(0)


async def run_until(clock: VirtualClock, predicate: Callable[[], bool], *, limit_s: float) -> float:
    """Let the tasks run, jumping from timer to timer, until `predicate` holds. Return the virtual seconds it took.

    Raises AssertionError when `limit_s` virtual seconds pass first, or when nothing is left that could happen.
    """
    start = clock.elapsed
    while True:
        await settle()
        if predicate():
            return clock.elapsed - start
        due = clock.next_due()
        assert due is not None, "nothing is left to happen: every task waits for something that has no timer"
        assert clock.elapsed - start + due <= limit_s, f"still not true after {limit_s} s of virtual time"
        clock.jump(due)
