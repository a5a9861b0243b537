"""Tasks and blocking calls as a protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Spawner(Protocol):
    """Starts tasks by name and runs blocking calls elsewhere (a thread, or inline in a simulation)."""

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start a task. The caller owns it and must await or cancel it."""

    async def blocking(self, call: Callable[[], T]) -> T:
        """Run a blocking call without stopping the event loop and return its result."""
