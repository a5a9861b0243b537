"""Waiting for something to happen or for time to pass, whichever is first, with the time of the `Clock` seam."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.seams import Clock, Spawner


async def wait_for_event(event: asyncio.Event, seconds: float, clock: Clock, spawner: Spawner) -> bool:
    """Wait until `event` is set, at most `seconds`. Return whether it is set. The event is not cleared."""
    if event.is_set() or seconds <= 0:
        return event.is_set()
    waiter = spawner.spawn(event.wait(), name="wait-event")
    timer = spawner.spawn(clock.sleep(seconds), name="wait-timer")
    try:
        await asyncio.wait((waiter, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (waiter, timer):
            task.cancel()
        await asyncio.gather(waiter, timer, return_exceptions=True)
    return event.is_set()


async def stop_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is theirs to report."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
