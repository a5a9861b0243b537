"""The strings of the API that have a form of their own: durations, quantities, paths, destinations, decimals, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator, Field, PlainSerializer

from holdfast.api import durations
from holdfast.api.model import says

Duration = Annotated[
    str,
    Field(max_length=durations.MAX_LENGTH, pattern=durations.PATTERN, json_schema_extra=says(durations.MESSAGE)),
]

Quantity = Annotated[
    str,
    Field(
        max_length=20,
        pattern=r"^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        json_schema_extra=says("write a size as a whole number with a unit, such as 500Mi or 20Gi"),
    ),
]

# Components never begin with a dot, so that neither `..` nor a hidden directory can be named.
AbsolutePath = Annotated[
    str,
    Field(
        max_length=255,
        pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$",
        json_schema_extra=says(
            "write an absolute path below / without a slash at the end, of letters, digits, '_', '-' and '.', "
            "no component of which begins with '.' or '-', such as /checkpoints"
        ),
    ),
]

# Bucket names: 3 to 63 characters, with dots up to 222 (cloud.google.com/storage/docs/buckets#naming).
Destination = Annotated[
    str,
    Field(
        max_length=512,
        pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9_=@+~-][A-Za-z0-9._=@+~-]*)+$",
        json_schema_extra=says(
            "write gs://<bucket>/<prefix> without a slash at the end: a bucket's name in lower case, then at least one "
            "component of letters, digits and any of . _ = @ + ~ - that does not begin with '.'"
        ),
    ),
]

# The API conventions forbid floating-point numbers, which not every client reads back as they were written.
Decimal = Annotated[str, Field(max_length=32)]


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[AwareDatetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]

MAX_MESSAGE: Final = 1024
MAX_ROW_MESSAGE: Final = 256
INT32_MAX: Final = 2**31 - 1
# The largest integer that every JSON reader keeps exact.
INT53_MAX: Final = 2**53 - 1


def _shortened(limit: int) -> BeforeValidator:
    """Messages quote others (kubelet, bucket, program), who know no limits: what is too long loses its end."""

    def shorten(value: object) -> object:
        return f"{value[: limit - 1]}…" if isinstance(value, str) and len(value) > limit else value

    return BeforeValidator(shorten)


Message = Annotated[str, _shortened(MAX_MESSAGE), Field(max_length=MAX_MESSAGE)]
RowMessage = Annotated[str, _shortened(MAX_ROW_MESSAGE), Field(max_length=MAX_ROW_MESSAGE)]
Step = Annotated[int, Field(ge=0, le=INT53_MAX)]


def decimal(value: float, digits: int = 6) -> str:
    """Return a number as the API writes it: at most `digits` significant digits, no padding."""
    return f"{value:.{digits}g}"
