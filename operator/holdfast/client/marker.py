"""The explicit marker: how a program with a checkpoint format of its own says that a step is complete.

The rule is simple enough for any language: write everything into `<checkpoint directory>/<step>/`, make it durable,
then create the empty file `.holdfast-complete` in it. A directory without the marker is never uploaded.
"""

from __future__ import annotations

import os
from pathlib import Path

NAME = ".holdfast-complete"


def write(directory: str | os.PathLike[str]) -> Path:
    """Make everything in `directory` durable, then mark it as a complete checkpoint. Returns the marker's path.

    Raises OSError if the directory is missing or cannot be written: then the checkpoint does not count.
    """
    root = Path(directory)
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: a checkpoint is a directory with the step's number as its name")
    for parent, _, files in os.walk(root):
        for name in files:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                _sync(path)
        _sync(Path(parent))
    marker = root / NAME
    temporary = root / f"{NAME}.tmp"
    temporary.touch()
    _sync(temporary)
    temporary.replace(marker)
    _sync(root)
    _sync(root.parent)
    return marker


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
