"""Durations read and written as the API server reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api import durations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", 0),
        ("45s", 45),
        ("10m", 600),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h1m1s", 3661),
        ("1h5s", 3605),
        ("90m", 5400),
    ],
)
def test_seconds(text: str, expected: int) -> None:
    assert durations.seconds(text) == expected
    assert re.fullmatch(durations.PATTERN, text)


@pytest.mark.parametrize("text", ["", "5", "s", "1.5h", "-1s", "1s1m", "1h 5m", "5S", "1d", "1000000s", "٣s", "1s\n"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a duration as whole hours, minutes and seconds"):
        durations.seconds(text)
    assert not re.fullmatch(durations.PATTERN, text)


@given(st.integers(min_value=0, max_value=3600 * 999_999))
def test_what_is_written_is_read_back(total: int) -> None:
    written = durations.text(total)
    assert durations.seconds(written) == total
    assert len(written) <= durations.MAX_LENGTH
    assert re.fullmatch(durations.PATTERN, written)


@given(st.text(alphabet="0123456789hms", max_size=12))
def test_pattern_and_reader_agree(text: str) -> None:
    try:
        durations.seconds(text)
    except ValueError:
        assert not re.fullmatch(durations.PATTERN, text)
    else:
        assert re.fullmatch(durations.PATTERN, text)


def test_fractions_are_rounded_and_negatives_refused() -> None:
    assert durations.text(59.6) == "1m"
    with pytest.raises(ValueError, match="never negative"):
        durations.text(-1)
