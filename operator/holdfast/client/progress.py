"""Telling the job's status how far the training is."""

from __future__ import annotations

import math
import time
from typing import Any, SupportsFloat, SupportsInt

from holdfast.client import connection


class Rate:
    """Steps per second, from the steps and times of two reports at least `window_s` apart."""

    def __init__(self, window_s: float = 2.0) -> None:
        self._window_s = window_s
        self._from: tuple[int, float] | None = None
        self._value: float | None = None

    def at(self, step: int, now: float) -> float | None:
        """Take note of a report at `now` (monotonic seconds) and return the rate, None until there is one."""
        if self._from is None or step < self._from[0]:
            self._from, self._value = (step, now), None
        elif now - self._from[1] >= self._window_s:
            self._value = (step - self._from[0]) / (now - self._from[1])
            self._from = (step, now)
        return self._value


_rate = Rate()


def report(
    step: SupportsInt,
    total: SupportsInt | None = None,
    loss: SupportsFloat | None = None,
    steps_per_second: SupportsFloat | None = None,
) -> None:
    """Report the last finished `step`, and the `total` number of steps and the `loss` where they are known.

    Cheap enough for every step: it only leaves the values in memory; at most one report a second is sent. Without
    `steps_per_second` the rate is taken from the reports themselves. A loss that is not a finite number is left out.
    Never raises and never waits; outside of Holdfast it does nothing.
    """
    line = connection.shared()
    if line is None:
        return
    message: dict[str, Any] = {"type": "progress"}
    try:
        message["step"] = int(step)
        rate = _rate.at(message["step"], time.monotonic()) if steps_per_second is None else float(steps_per_second)
        if total is not None:
            message["total"] = int(total)
        if loss is not None and math.isfinite(value := float(loss)):
            message["loss"] = value
        if rate is not None and math.isfinite(rate):
            message["stepsPerSecond"] = round(rate, 4)
    except (TypeError, ValueError, OverflowError) as error:
        connection.log.warning("progress of step %r is not reported: %s", step, error)
        return
    line.progress(message)
