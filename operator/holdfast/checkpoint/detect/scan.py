"""One look at the trainer's directory. It blocks, and is made once a second, which works on every kind of volume."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.checkpoint.detect import marker, orbax
from holdfast.checkpoint.detect.found import Found, Scan, Unfinished, step_of


def scan(root: Path, format_: str, told: Mapping[int, str], *, skip: Iterable[str] = ()) -> Scan:
    """Return what `root` holds. `format_` is `Auto`, `Orbax` or `Marker`; `told` maps declared steps to directories.

    `skip` names directories that tell nothing by themselves: a restored step whose end was declared in words has no
    mark of its own. Declared anew they count.
    """
    skipped, problems = set(skip), _Unreadable()
    found: dict[int, Found] = {}
    for step in marker.declared(root, told, problems.note):
        found[step.step] = step
    open_directories: list[Path] = []
    try:
        directories = list(_directories(root))
    except OSError as error:
        return Scan(problem=str(error), blind=True)
    for directory in directories:
        if directory.name in skipped:
            continue
        try:
            whole = _complete(directory, format_)
        except OSError as error:
            problems.note(error)
            continue
        if whole is None:
            open_directories.append(directory)
        elif whole.step not in found or len(whole.directory) < len(found[whole.step].directory):
            # Two directories of one step: the plainest name wins, every time.
            found[whole.step] = whole
    taken = {whole.directory for whole in found.values()}
    unfinished: list[Unfinished] = []
    for directory in open_directories:
        begun = _begun(directory.name)
        if begun is None or directory.name in taken:
            continue
        try:
            unfinished.append(Unfinished(begun, directory.name, fingerprint(directory)))
        except OSError as error:
            problems.note(error)
    return Scan(tuple(found[step] for step in sorted(found)), tuple(unfinished), problems.first)


@dataclass(slots=True)
class _Unreadable:
    """What one directory's trouble is must not hide the others; the first is enough to tell."""

    first: str = ""

    def note(self, error: OSError) -> None:
        self.first = self.first or str(error)


def scan_complete(root: Path, format_: str) -> tuple[Found, ...]:
    """Return the complete steps of a directory that nobody writes to any more."""
    return scan(root, format_, {}).complete


def fingerprint(directory: Path) -> tuple[int, int, int]:
    """Return how many entries a tree has, how large they are together, and when the last one changed (ns)."""
    count = size = newest = 0
    pending = [directory]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    count, size, newest = count + 1, size + status.st_size, max(newest, status.st_mtime_ns)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
        except (FileNotFoundError, NotADirectoryError):
            # It is being renamed or removed: that is a change by itself.
            count += 1
    return count, size, newest


def _complete(directory: Path, format_: str) -> Found | None:
    if format_ in ("Auto", "Orbax") and (step := orbax.complete(directory)) is not None:
        return step
    return marker.complete(directory) if format_ in ("Auto", "Marker") else None


def _begun(name: str) -> int | None:
    step = orbax.unfinished_step(name)
    return step if step is not None else step_of(name, allow_prefix=False)


def _directories(root: Path) -> Iterator[Path]:
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    yield from (root / name for name in names)
