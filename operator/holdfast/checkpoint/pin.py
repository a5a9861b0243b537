"""Holding a complete step while it is uploaded, whatever the trainer does to its directory.

Hard links keep the data when the trainer's own retention deletes the step, and survive the death of the sidecar. Where
links are not permitted, open descriptors do the same as long as the process lives. Neither protects from writing in
place, so every file is compared (inode, size, modification time) before and after it is read: a checksum alone
cannot tell, as it is computed from what was read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from holdfast.checkpoint.detect import Found
from holdfast.checkpoint.errors import TornRead, Unsupported, Vanished
from holdfast.checkpoint.manifests import DirectoryEntry, Evidence, SymlinkEntry
from holdfast.checkpoint.volume import read_state, remove_tree, sync_directory, write_file

# What the kernel answers where a hard link cannot be made: not permitted, another file system, too many, not supported.
_NO_LINK: Final = (errno.EPERM, errno.EACCES, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS)
# What it answers where there is no room for names: open descriptors take none.
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_RECORD: Final = "pin.json"
_FILES: Final = "files"


class PinnedFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One file as it was when the step was found complete."""

    path: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    inode: int


class PinRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that was found of a step. `linked` says that hard links hold it."""

    step: int
    directory: str
    format: str
    evidence: Evidence
    linked: bool
    files: tuple[PinnedFile, ...] = ()
    directories: tuple[DirectoryEntry, ...] = ()
    symlinks: tuple[SymlinkEntry, ...] = ()


@dataclass(slots=True)
class Pin:
    """A held step. Call `release` when it is no longer needed."""

    record: PinRecord
    root: Path
    descriptors: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.record.files)

    def open(self, file: PinnedFile) -> int:
        """Return a new descriptor of a held file, checked to be what was found. Raises `TornRead`."""
        if self.record.linked:
            descriptor = os.open(self.root / _FILES / file.path, os.O_RDONLY | os.O_NOFOLLOW)
        else:
            # A descriptor of its own has an offset of its own; a duplicate would share it.
            descriptor = os.open(f"/proc/self/fd/{self.descriptors[file.path]}", os.O_RDONLY)
        try:
            check(file, descriptor)
        except TornRead:
            os.close(descriptor)
            raise
        return descriptor

    def release(self) -> None:
        """Let go of the files."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)
        self.descriptors.clear()
        remove_tree(self.root)


def check(file: PinnedFile, descriptor: int) -> None:
    """Raise `TornRead` where the open file is no longer what was found."""
    now = os.fstat(descriptor)
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (file.inode, file.size, file.mtime_ns):
        raise TornRead(f"{file.path} changed after its step was complete")


def pin(found: Found, data: Path, pins: Path) -> Pin:
    """Hold the step `found` of the trainer's directory `data`; `pins` is the directory for the links.

    Raises `Vanished` where the trainer removes it meanwhile, `TornRead` where it changes meanwhile, `Unsupported` where
    it holds what a bucket cannot keep, and OSError.
    """
    _name(Path(found.directory))
    root = pins / str(found.step)
    try:
        try:
            remove_tree(root)
            return _held(found, data, root, linking=True)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            # The step that waits for its upload longest may be what fills the volume: hold it without writing.
            remove_tree(root)
            return _held(found, data, root, linking=False)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Vanished(f"step {found.step} was removed while it was being held: {error}") from error


def _held(found: Found, data: Path, root: Path, *, linking: bool) -> Pin:
    building = _Builder(data / found.directory, root / _FILES, linking=linking)
    try:
        building.add(Path())
        building.recheck()
        record = PinRecord(
            step=found.step,
            directory=found.directory,
            format=found.format,
            evidence=found.evidence,
            linked=building.linking,
            files=tuple(building.files),
            directories=tuple(building.directories),
            symlinks=tuple(building.symlinks),
        )
        if record.linked:
            sync_directory(root / _FILES)
            write_file(root / _RECORD, msgspec.json.encode(record))
    except BaseException:
        # Whatever ends it, no half of a pin may stay: the next life would take it for one.
        building.abandon()
        remove_tree(root)
        raise
    return Pin(record, root, building.descriptors)


def recover(pins: Path) -> list[Pin]:
    """Return the steps that links of an earlier life of the sidecar still hold; remove what was half made."""
    found: list[Pin] = []
    with contextlib.suppress(FileNotFoundError):
        for root in sorted(pins.iterdir()):
            record = read_state(root / _RECORD, PinRecord)
            if record is None:
                remove_tree(root)
            else:
                found.append(Pin(record, root))
    return found


class _Builder:
    """Walks a step's directory and links, or opens, what it finds."""

    def __init__(self, source: Path, target: Path, *, linking: bool) -> None:
        self._source = source
        self._target = target
        self.linking = linking
        self._listings: dict[Path, list[str]] = {}
        self.files: list[PinnedFile] = []
        self.directories: list[DirectoryEntry] = []
        self.symlinks: list[SymlinkEntry] = []
        self.descriptors: dict[str, int] = {}

    def add(self, relative: Path) -> None:
        """Take in a directory with all below it."""
        source = self._source / relative
        status = source.lstat()
        self.directories.append(
            DirectoryEntry(
                path=_name(relative), mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid
            )
        )
        if self.linking:
            (self._target / relative).mkdir(parents=True, exist_ok=True)
        names = self._listings[relative] = sorted(entry.name for entry in source.iterdir())
        for name in names:
            self._add_entry(relative / name)

    def _add_entry(self, relative: Path) -> None:
        source, name = self._source / relative, _name(relative)
        status = source.lstat()
        if stat.S_ISDIR(status.st_mode):
            self.add(relative)
        elif stat.S_ISLNK(status.st_mode):
            self.symlinks.append(SymlinkEntry(path=name, target=_name(source.readlink())))
        elif stat.S_ISREG(status.st_mode):
            status = self._hold(relative, name)
            self.files.append(
                PinnedFile(
                    path=name,
                    size=status.st_size,
                    mode=stat.S_IMODE(status.st_mode),
                    uid=status.st_uid,
                    gid=status.st_gid,
                    mtime_ns=status.st_mtime_ns,
                    inode=status.st_ino,
                )
            )
        else:
            raise Unsupported(f"{name} is not a file, directory or link: write such things outside the checkpoint")

    def _hold(self, relative: Path, name: str) -> os.stat_result:
        """Link or open one file and return its status, taken from what is now held."""
        source, target = self._source / relative, self._target / relative
        if self.linking:
            try:
                os.link(source, target, follow_symlinks=False)
                return target.lstat()
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                # All or nothing: what was linked so far is opened from its link.
                self.linking = False
                for file in self.files:
                    self.descriptors[file.path] = os.open(self._target / file.path, os.O_RDONLY | os.O_NOFOLLOW)
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
        self.descriptors[name] = descriptor
        return os.fstat(descriptor)

    def recheck(self) -> None:
        """Look again at everything under the trainer's names: what was replaced meanwhile is not one consistent step.

        Nor is what is only half there because the trainer is removing it: its mark may be the last thing to go.
        """
        for relative, names in self._listings.items():
            if sorted(entry.name for entry in (self._source / relative).iterdir()) != names:
                raise TornRead(f"{relative.as_posix()} got or lost entries while its step was being held")
        for file in self.files:
            status = (self._source / file.path).lstat()
            if (status.st_ino, status.st_size, status.st_mtime_ns) != (file.inode, file.size, file.mtime_ns):
                raise TornRead(f"{file.path} changed while its step was being held")

    def abandon(self) -> None:
        for descriptor in self.descriptors.values():
            os.close(descriptor)
        self.descriptors.clear()


def _name(path: Path) -> str:
    """Return a path as text. Raises `Unsupported` where it is not UTF-8, as object names and JSON must be."""
    text = path.as_posix()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unsupported(f"the name {text!r} is not valid UTF-8: rename it") from None
    return text
