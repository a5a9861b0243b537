"""Faults of the in-memory API server: planned ahead, each used up by the requests that match it.

faults.refuse(matching("POST", "/pods"), ApiError(503, "ServiceUnavailable", "busy"))    # not carried out
faults.lose_answer(matching("PATCH", "/status"))    # carried out; the caller never hears of it
faults.hold_request(matching("POST"), 6.0)          # arrives late, even after its caller gave up or died
faults.hold_answer(matching("POST"), 1.0)           # carried out at once, answered after later requests
faults.repeat(matching("DELETE"))                   # sent twice by something in between; the second answer counts
faults.lag_reads(20.0)                              # reads that allow an old answer get that of 20 s ago
faults.watch("silent", matching(part="/pods"))      # or "closed", "doubled", "swapped"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from holdfast.seams import ApiError

Match = Callable[[str, str], bool]
WatchFault = Literal["silent", "closed", "doubled", "swapped"]


def matching(method: str = "", part: str = "") -> Match:
    """Match requests by method and a part of the path; empty matches all."""
    return lambda m, path: (not method or m == method) and part in path


@dataclass
class Fault:
    """`before`: refused, nothing happens. `after`: carried out, then the answer is lost or replaced by `error`.

    The other kinds have no error: `request` and `answer` are held for `seconds`, `repeat` is carried out twice, and
    the names of `WatchFault` are about the watch that is opened.
    """

    match: Match
    kind: Literal["before", "after", "request", "answer", "repeat"] | WatchFault
    times: int
    error: ApiError | None = None
    seconds: float = 0.0


class Faults:
    """What goes wrong next. `latency(method, path)` gives the seconds that every request takes; `down` refuses all."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self.latency: Callable[[str, str], float] = lambda method, path: 0.0
        self.down = False
        self.read_lag_s = 0.0

    def reset(self) -> None:
        """Nothing goes wrong any more."""
        self._planned.clear()
        self.latency = lambda method, path: 0.0
        self.down = False

    def refuse(self, match: Match, error: ApiError, *, times: int = 1) -> None:
        """Answer the next `times` matching requests with `error`, without carrying them out."""
        self._planned.append(Fault(match, "before", times, error))

    def lose_answer(self, match: Match, *, times: int = 1, instead: ApiError | None = None) -> None:
        """Carry out the next `times` matching requests and let their answers get lost, or be another one."""
        error = instead or ApiError(0, "Unreachable", "the answer was lost")
        self._planned.append(Fault(match, "after", times, error))

    def hold_request(self, match: Match, seconds: float, *, times: int = 1) -> None:
        """Keep matching requests on their way: others overtake them, and they arrive whether or not anybody waits."""
        self._planned.append(Fault(match, "request", times, seconds=seconds))

    def hold_answer(self, match: Match, seconds: float, *, times: int = 1) -> None:
        """Carry out matching requests at once and answer them late."""
        self._planned.append(Fault(match, "answer", times, seconds=seconds))

    def repeat(self, match: Match, *, times: int = 1) -> None:
        """Carry out matching requests twice, as a proxy does that sends again; the second answer reaches the caller."""
        self._planned.append(Fault(match, "repeat", times))

    def lag_reads(self, seconds: float) -> None:
        """Answer reads that say `resourceVersion` (any, or at least one) from the past, as a watch cache behind does.

        Reads without one stay consistent: an API server that cannot ask etcd fails them. 0 ends the lag.
        """
        self.read_lag_s = seconds

    def watch(self, kind: WatchFault, match: Match = matching(), *, times: int = 1) -> None:  # noqa: B008 - pure
        """Spoil the next `times` matching watches.

        `silent` says nothing at all, `closed` ends at once, `doubled` brings every event twice, `swapped` turns the
        order of neighbours round.
        """
        self._planned.append(Fault(match, kind, times))

    def take(self, kind: str, method: str, path: str) -> ApiError | None:
        """Return the error that is due for this request at this moment, None where all is well."""
        if self.down and kind == "before":
            return ApiError(0, "Unreachable", "connection refused")
        fault = self._due(kind, method, path)
        return fault.error if fault is not None else None

    def held_s(self, kind: Literal["request", "answer"], method: str, path: str) -> float:
        """Return for how long this request or its answer is held."""
        fault = self._due(kind, method, path)
        return fault.seconds if fault is not None else 0.0

    def repeated(self, method: str, path: str) -> bool:
        """Say whether this request is to be carried out twice."""
        return self._due("repeat", method, path) is not None

    def spoiled(self, path: str) -> set[str]:
        """Return what is wrong with the watch that is opened now."""
        return {kind for kind in ("silent", "closed", "doubled", "swapped") if self._due(kind, "WATCH", path)}

    def _due(self, kind: str, method: str, path: str) -> Fault | None:
        for fault in self._planned:
            if fault.kind == kind and fault.times > 0 and fault.match(method, path):
                fault.times -= 1
                return fault
        return None
