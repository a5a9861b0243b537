"""The files that belong to the project: what git tracks, and what it would."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@cache
def files() -> tuple[Path, ...]:
    """All files of the work tree that are not ignored, relative to the root."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    found = tuple(sorted(Path(name) for name in set(listing.split("\0")) if name and (ROOT / name).is_file()))
    assert found, "git tracks nothing here: the guards would guard nothing"
    return found


@cache
def text(path: Path) -> str | None:
    """The content of a file, None where it is not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
