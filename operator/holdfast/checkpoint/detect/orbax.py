"""Orbax: a step is written under a temporary name and renamed when it is whole.

`<step>/` or `<prefix>_<step>/`, and inside it `commit_success.txt` (written last since Orbax 0.12.3) or
`_CHECKPOINT_METADATA` (written before the rename by all versions with that metadata). The temporary name holds
`.orbax-checkpoint-tmp`, in older versions followed by a time stamp. Traced with Orbax 0.12.8 on a local file system.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from holdfast.checkpoint.detect.found import Found, step_of

FORMAT: Final = "Orbax"
TEMPORARY: Final = ".orbax-checkpoint-tmp"
_ENDS: Final = ("commit_success.txt", "_CHECKPOINT_METADATA")


def complete(directory: Path) -> Found | None:
    """Return the step that this directory holds, or None where it is not a complete one of Orbax."""
    step = step_of(directory.name, allow_prefix=True)
    if step is None or TEMPORARY in directory.name or not any((directory / end).is_file() for end in _ENDS):
        return None
    return Found(step, directory.name, FORMAT, "Explicit")


def unfinished_step(name: str) -> int | None:
    """Return the step that is being written under this temporary name, or None where it is not one."""
    stem, separator, _ = name.partition(TEMPORARY)
    return step_of(stem, allow_prefix=True) if separator else None
