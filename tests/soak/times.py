"""Whether a job's account of its own time adds up: attempts follow each other, and their seconds are all there is."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

Fields = dict[str, Any]


def check(name: str, status: Fields) -> None:
    """Raise AssertionError where attempts overlap, or where active seconds are not the sum of the ended attempts."""
    rows = status.get("attempts") or []
    spans = [(row["attempt"], _time(row["startedAt"]), _time(row.get("endedAt"))) for row in rows]
    for (earlier, _, end), (later, start, _) in pairwise(spans):
        assert end is not None, f"{name}: attempt {later} began before attempt {earlier} had ended"
        assert start is not None
        assert end <= start, f"{name}: attempt {later} began at {start}, and attempt {earlier} ended at {end}"
    if not rows or rows[0]["attempt"] != 1:
        # Of a long life only the last rows are kept.
        return
    total = sum((end - start).total_seconds() for _, start, end in spans if start is not None and end is not None)
    told = int(status.get("activeSeconds") or 0)
    # Each is cut to whole seconds.
    assert abs(told - total) <= len(rows), f"{name}: {told} active seconds, and the attempts make {total:.0f}"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
