"""A few transfers at once: as many as a bucket's latency needs, few enough for tens of MB of memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from holdfast.seams import Spawner

T = TypeVar("T")

STREAMS: Final = 4


async def each(spawner: Spawner, items: Iterable[T], work: Callable[[T], Awaitable[Any]], *, name: str) -> None:
    """Do `work` for every item, at most `STREAMS` at a time, starting in order.

    The first failure stops the others between two of their steps and is raised once none runs any more, so that
    nothing goes on behind the caller's back.
    """
    queue = iter(list(items))

    async def worker() -> None:
        for item in queue:
            await work(item)

    tasks = [spawner.spawn(worker(), name=f"{name}-{number}") for number in range(STREAMS)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
