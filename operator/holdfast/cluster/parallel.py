"""Running many small jobs a few at a time, by worker tasks that draw from one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from holdfast.seams import Spawner

T = TypeVar("T")


async def each(items: Sequence[T], call: Callable[[T], Awaitable[None]], *, width: int, spawner: Spawner) -> None:
    """Await `call(item)` for every item, at most `width` at once, begun in order.

    The first exception stops the rest and is raised.
    """
    if len(items) == 1:
        await call(items[0])
        return
    line = iter(items)
    tasks = [spawner.spawn(_worker(line, call), name=f"parallel-{number}") for number in range(min(width, len(items)))]
    try:
        await _first_failure(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _worker(line: Iterator[T], call: Callable[[T], Awaitable[None]]) -> None:
    for item in line:
        await call(item)


async def _first_failure(tasks: list[asyncio.Task[None]]) -> None:
    if not tasks:
        return
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        if (error := task.exception()) is not None:
            raise error
