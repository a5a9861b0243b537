"""What a look at the trainer's directory gives, and how a directory's name tells its step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.checkpoint.manifests import Evidence

# The number that a checkpoint's directory ends with, alone or after a prefix and an underscore.
_STEP_NAME: Final = re.compile(r"(?:(?P<prefix>.*[^_])_)?(?P<step>[0-9]{1,12})")


@dataclass(frozen=True, slots=True)
class Found:
    """A complete step. `directory` is relative to the trainer's directory."""

    step: int
    directory: str
    format: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A step that has begun and not ended. `fingerprint` changes while somebody writes to it."""

    step: int
    directory: str
    fingerprint: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at the directory. `complete` is sorted by step, one entry a step.

    `problem` says what could not be read, if anything; `blind` that it was the trainer's directory itself.
    """

    complete: tuple[Found, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()
    problem: str = ""
    blind: bool = False


def step_of(name: str, *, allow_prefix: bool) -> int | None:
    """Return the step that a directory's name tells, or None."""
    found = _STEP_NAME.fullmatch(name)
    if found is None or (found["prefix"] and not allow_prefix):
        return None
    return int(found["step"])
