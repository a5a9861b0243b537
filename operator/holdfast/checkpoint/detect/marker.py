"""The explicit marker: a directory named by its step that holds the file `.holdfast-complete`, written last.

The trainer may say the same over the socket instead, for a directory of any name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from holdfast.checkpoint.detect.found import Found, step_of

FORMAT: Final = "Marker"
MARKER: Final = ".holdfast-complete"


def complete(directory: Path) -> Found | None:
    """Return the step that this directory holds, or None where its marker is missing."""
    step = step_of(directory.name, allow_prefix=False)
    if step is None or not (directory / MARKER).is_file():
        return None
    return Found(step, directory.name, FORMAT, "Explicit")


def declared(root: Path, told: Mapping[int, str], unreadable: Callable[[OSError], None]) -> Iterator[Found]:
    """Yield the steps that the trainer declared complete over the socket and that are still there."""
    for step, directory in told.items():
        try:
            there = (root / directory).is_dir()
        except OSError as error:
            unreadable(error)
            continue
        if there:
            yield Found(step, directory, FORMAT, "Explicit")


def safe_directory(path: str) -> str:
    """Return a declared directory in its plain form. Raises ValueError where it could lead out of the trainer's own."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\x00" in path:
        raise ValueError(f"path {path!r} must be relative to the checkpoint directory, without '..'")
    return str(pure)
