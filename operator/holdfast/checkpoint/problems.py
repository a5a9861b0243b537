"""What keeps checkpoints from being committed, gathered while the engine works and told as one state of health."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import Final

from holdfast.api.wire import Health

# A step that was found changed this often is not one that was just caught at a bad moment.
_TORN_OFTEN: Final = 3


class Problems:
    """The problems of one slot. All texts are empty while there is none.

    `unreadable` is what a look could not see or hold, `volume` what stood in the way of sending: each is withdrawn only
    by whoever found it, so that none is taken back while it lasts.
    """

    def __init__(self) -> None:
        self.unreadable = ""
        self.volume = ""
        self.commit = ""
        self.refused: dict[int, str] = {}
        self._torn: Counter[int] = Counter()

    def torn(self, step: int, *, for_good: bool) -> None:
        """Take note that a step was not what had been found complete; `for_good` if it will not be looked at again."""
        self._torn[step] += _TORN_OFTEN if for_good else 1

    def health(self, written: Set[int], otherwise: Health) -> Health:
        """Return the worst that is known; `written` are the steps that have arrived."""
        if self.commit:
            return _unhealthy("CommitBlocked", self.commit)
        if volume := self.unreadable or self.volume:
            return _unhealthy("VolumeUnusable", volume)
        # What is older than a step that arrived holds nothing up any more.
        arrived = max(written, default=-1)
        if self.refused and (step := max(self.refused)) > arrived:
            return _unhealthy("UnsupportedFile", f"step {step}: {self.refused[step]}")
        changing = [step for step, times in self._torn.items() if times >= _TORN_OFTEN and step > arrived]
        if changing:
            return _unhealthy(
                "CheckpointChanges",
                f"step {max(changing)} is written to after it was complete, so it cannot be committed: write all files "
                "before the step is renamed, marked or declared complete",
            )
        return otherwise


def _unhealthy(reason: str, message: str) -> Health:
    return Health(healthy=False, reason=reason, message=message)
