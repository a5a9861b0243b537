"""Durations as the API writes them: whole hours, minutes and seconds, such as `1h30m`, `10m` or `45s`."""

from __future__ import annotations

import re
from typing import Final

# One to six digits a unit: enough for a century, and never near the limits of an integer.
PATTERN: Final = r"^([0-9]{1,6}h([0-9]{1,6}m)?([0-9]{1,6}s)?|[0-9]{1,6}m([0-9]{1,6}s)?|[0-9]{1,6}s)$"
MESSAGE: Final = "write a duration as whole hours, minutes and seconds in this order, such as 1h30m, 10m or 45s"
MAX_LENGTH: Final = 21

_PARTS: Final = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def seconds(text: str) -> int:
    """Return the duration in seconds.

    Raises ValueError, saying how a duration is written, for anything else.
    """
    match = _PARTS.fullmatch(text)
    if match is None or not text or not text.isascii():
        raise ValueError(f"{text!r}: {MESSAGE}")
    hours, minutes, rest = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest


def text(total_s: float) -> str:
    """Return seconds, rounded to whole ones, as a duration with the fewest parts; zero is `0s`."""
    rest = round(total_s)
    if rest < 0:
        raise ValueError(f"a duration is never negative: {total_s}")
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{value}{unit}" for value, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if value]
    return "".join(parts) or "0s"
