"""Faults of the in-memory API server: refused requests, lost answers, slow ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from holdfast.seams import ApiError

Match = Callable[[str, str], bool]


def matching(method: str = "", part: str = "") -> Match:
    """Match requests by method and a part of the path; empty matches all."""
    return lambda m, path: (not method or m == method) and part in path


@dataclass
class Fault:
    """`before`: refused, nothing happens. `after`: carried out, then the answer is lost or replaced by `error`."""

    match: Match
    when: Literal["before", "after"]
    error: ApiError
    times: int = 1


class Faults:
    """What goes wrong next. `latency(method, path)` gives the seconds that a request takes."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self.latency: Callable[[str, str], float] = lambda method, path: 0.0
        self.down = False

    def refuse(self, match: Match, error: ApiError, *, times: int = 1) -> None:
        """Answer the next `times` matching requests with `error`, without carrying them out."""
        self._planned.append(Fault(match, "before", error, times))

    def lose_answer(self, match: Match, *, times: int = 1) -> None:
        """Carry out the next `times` matching requests and let their answers get lost."""
        self._planned.append(Fault(match, "after", ApiError(0, "Unreachable", "the answer was lost"), times))

    def take(self, when: Literal["before", "after"], method: str, path: str) -> ApiError | None:
        """Return the error that is due for this request at this moment, None where all is well."""
        if self.down and when == "before":
            return ApiError(0, "Unreachable", "connection refused")
        for fault in self._planned:
            if fault.when == when and fault.times > 0 and fault.match(method, path):
                fault.times -= 1
                return fault.error
        return None
