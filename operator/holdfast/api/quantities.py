"""Quantities of Kubernetes as numbers: `500Mi`, `1.5G`, `2e9`, `1500m`."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

_BINARY: Final = {unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
}
_UNITS: Final = _BINARY | _DECIMAL
_FORM: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d{1,3}|[A-Za-z]{0,2})")
_MI: Final = 2**20


def parse(quantity: int | str) -> Decimal | None:
    """Return a quantity as a number, None for what is none."""
    found = _FORM.fullmatch(str(quantity))
    if found is None:
        return None
    number, unit = found.groups()
    if unit in _UNITS:
        return Decimal(number) * _UNITS[unit]
    return Decimal(number + unit) if unit[-1].isdigit() else None


def mebibytes(size: Decimal) -> str:
    """Return a number of bytes as a quantity in Mi, rounded up."""
    return f"{math.ceil(size / _MI)}Mi"
