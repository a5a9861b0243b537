"""The steps that are held and wait for their upload.

Normally the oldest goes first, so that all slots work on the same step and every one is committed. When saves come
faster than uploads, something has to give: at most `LIMIT` steps are held, and the ones to give up are chosen by their
numbers alone, so that all slots give up the same ones. In a hurry the newest goes first, or the newest of those that
are not newer than `through`, where what came later is not waited for.
"""

from __future__ import annotations

from typing import Final

from holdfast.checkpoint.pin import Pin

LIMIT: Final = 4


class Backlog:
    """Held steps by number."""

    def __init__(self) -> None:
        self._pins: dict[int, Pin] = {}
        self._busy: int | None = None
        self.hurry = False
        self.through: int | None = None

    def __contains__(self, step: int) -> bool:
        return step in self._pins

    def __bool__(self) -> bool:
        return bool(self._pins)

    def add(self, pin: Pin) -> None:
        """Hold one more step."""
        self._pins[pin.record.step] = pin

    def next(self) -> Pin | None:
        """Return the step to work on now, or None. It is not given up until the next call."""
        self._busy = None
        if not self._pins:
            return None
        self._busy = self.hurried if self.hurry and self.hurried is not None else min(self._pins)
        return self._pins[self._busy]

    def take(self, step: int) -> Pin:
        """Remove a step without letting go of its files."""
        return self._pins.pop(step)

    def surplus(self, every_steps: int) -> list[Pin]:
        """Remove and return what is beyond the limit: never the oldest, the newest, or the one that is being sent."""
        given_up: list[Pin] = []
        while len(self._pins) > LIMIT:
            middle = [step for step in sorted(self._pins)[1:-1] if step != self._busy]
            given_up.append(self._pins.pop(min(middle, key=lambda step: (roundness(step, every_steps), step))))
        return given_up

    def overtaken(self, committed: int) -> list[Pin]:
        """Remove and return the steps older than a committed one: nobody would restore them any more."""
        return [self._pins.pop(step) for step in sorted(self._pins) if step < committed]

    def awaited(self, through: int | None) -> bool:
        """Say whether a step is held that is not newer than `through`."""
        return any(through is None or step <= through for step in self._pins)

    @property
    def hurried(self) -> int | None:
        """The step that goes first in a hurry."""
        wanted = [step for step in self._pins if self.through is None or step <= self.through]
        return max(wanted or self._pins, default=None)

    @property
    def bytes(self) -> int:
        """The size of all that is held."""
        return sum(pin.bytes for pin in self._pins.values())


def roundness(step: int, every_steps: int) -> int:
    """Return how often two divides the number of the save: the rounder, the likelier that all slots kept it."""
    number = step // max(1, every_steps) or step
    return (number & -number).bit_length()
