"""Time and randomness as protocols."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what people and other machines read, monotonic time for deadlines, and sleeping."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task for at least `seconds`."""


class Random(Protocol):
    """Jitter for back-offs; never used for anything that must be secret."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between `low` and `high`."""
