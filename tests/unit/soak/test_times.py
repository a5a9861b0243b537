"""The account of a job's time: seconds that are counted twice or not at all are seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soak import times


def row(attempt: int, start: str, end: str | None) -> dict[str, Any]:
    found = {"attempt": attempt, "startedAt": f"2026-01-01T00:{start}Z"}
    return found if end is None else {**found, "endedAt": f"2026-01-01T00:{end}Z"}


ROWS = [row(1, "00:00", "01:00"), row(2, "01:00", "01:30"), row(3, "02:00", None)]


def test_what_adds_up_passes() -> None:
    times.check("job", {"attempts": ROWS, "activeSeconds": 90})
    times.check("job", {})
    times.check("job", {"attempts": ROWS[1:], "activeSeconds": 1000})


@pytest.mark.parametrize("told", [120, 60, 0])
def test_seconds_too_many_or_too_few_are_seen(told: int) -> None:
    with pytest.raises(AssertionError, match="and the attempts make 90"):
        times.check("job", {"attempts": ROWS, "activeSeconds": told})


def test_attempts_that_overlap_are_seen() -> None:
    with pytest.raises(AssertionError, match="attempt 2 began"):
        times.check("job", {"attempts": [ROWS[0], row(2, "00:50", None)], "activeSeconds": 60})
    with pytest.raises(AssertionError, match="began before attempt 3 had ended"):
        times.check("job", {"attempts": [ROWS[2], row(4, "03:00", None)]})
