"""Quantities of Kubernetes, as its own documentation writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.quantities import mebibytes, parse


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500Mi", "524288000"),
        ("1.5G", "1500000000"),
        ("2e9", "2000000000"),
        ("12E3", "12000"),
        ("1e-3", "0.001"),
        ("1500m", "1.5"),
        (".5Gi", "536870912"),
        ("1E", "1000000000000000000"),
        ("128974848", "128974848"),
        (7, "7"),
    ],
)
def test_numbers(text: int | str, number: str) -> None:
    assert parse(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "1ei", "1 Gi", "1gi", "1Gi ", "x", "1.2.3", "0x10", "1GiB"])
def test_what_is_no_quantity(text: str) -> None:
    assert parse(text) is None


@given(st.integers(1, 2**60))
def test_mebibytes_are_never_less_and_less_than_one_more(size: int) -> None:
    told = parse(mebibytes(Decimal(size)))
    assert told is not None
    assert 0 <= told - size < 2**20
