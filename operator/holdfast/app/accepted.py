"""Forms of pods that the API server has accepted in a dry run a moment ago: hundreds of jobs are often of one form.

A dry run costs the API server as much as a write. What it would refuse later all the same, a quota that is used up
meanwhile, it refuses at the create, and that is told too.
"""

from __future__ import annotations

from collections import OrderedDict

from holdfast.seams import Clock

HOLDS_S = 60.0
REMEMBERED = 1024


class AcceptedForms:
    """The forms accepted within the last `HOLDS_S` seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accepted: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, form: object) -> bool:
        at = self._accepted.get(form) if isinstance(form, str) else None
        return at is not None and self._clock.monotonic() - at < HOLDS_S

    def add(self, form: str) -> None:
        """Note that a form has been accepted now."""
        self._accepted[form] = self._clock.monotonic()
        self._accepted.move_to_end(form)
        while len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    def clear(self) -> None:
        """Have every form asked for again: something was refused, or another replica leads."""
        self._accepted.clear()
