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

    The first failure cancels the others and is raised once their tasks have ended. A blocking call of theirs goes on in
    its thread: work that streams has to end it at its next piece when it is cancelled.
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
