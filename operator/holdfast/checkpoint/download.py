"""Bringing one slot's part of a commit onto the volume, every byte checked on its way.

Files go into a directory beside the trainer's, with the names, modes and times of the part manifest, and only the
whole, synced directory is moved to where the trainer looks. What is there already, from an interrupted try or from an
older attempt's own copy, is used file by file where the content is right.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from holdfast.checkpoint.errors import Damaged
from holdfast.checkpoint.hashing import Digest, digest_of
from holdfast.checkpoint.manifests import Entry, FileEntry, Part
from holdfast.checkpoint.parallel import each
from holdfast.checkpoint.store.retrying import PatientStore
from holdfast.checkpoint.verify import READS_FOR_PROOF
from holdfast.checkpoint.volume import remove_tree, sync_directory
from holdfast.seams import ObjectMissing, Spawner


@dataclass(slots=True)
class Downloader:
    """Fetches parts. `received` hears of every number of bytes that arrived and was right."""

    store: PatientStore
    spawner: Spawner
    received: Callable[[int], None]

    async def fetch(self, part: Part, target: Path) -> None:
        """Bring the part into `target`. Raises `Damaged` for proven damage, OSError for what the volume refuses."""
        check_paths(part)
        await self.spawner.blocking(lambda: _lay_out(part, target))

        # Beside the tree: no name in it is ours to take, and a longer one might be too long for the file system.
        arriving = target.with_name(f"{target.name}.arriving")
        await self.spawner.blocking(lambda: arriving.mkdir(exist_ok=True))

        async def one(numbered: tuple[int, FileEntry]) -> None:
            number, entry = numbered
            await self._fetch_file(entry, target / entry.path, arriving / str(number))
            self.received(entry.size)

        largest_first = sorted(part.files, key=lambda entry: -entry.size)
        await each(self.spawner, enumerate(largest_first), one, name="download")
        await self.spawner.blocking(lambda: remove_tree(arriving))
        await self.spawner.blocking(lambda: finish_tree(part, target))

    async def _fetch_file(self, entry: FileEntry, path: Path, temporary: Path) -> None:
        if await self.spawner.blocking(lambda: matches(entry, path)):
            return
        for _ in range(READS_FOR_PROOF):
            digest = await self.store.retrier.call(lambda: self._read(entry, temporary))
            if (digest.size, digest.crc32c, digest.blake3) == (entry.size, entry.crc32c, entry.blake3):
                await self.spawner.blocking(lambda: temporary.replace(path))
                return
        await self.spawner.blocking(lambda: temporary.unlink(missing_ok=True))
        raise Damaged(
            entry.object,
            f"generation {entry.generation} has {digest.size} bytes with crc32c {digest.crc32c}, "
            f"and not {entry.size} bytes with crc32c {entry.crc32c}",
        )

    async def _read(self, entry: FileEntry, temporary: Path) -> Digest:
        digest = Digest()
        file = await self.spawner.blocking(lambda: temporary.open("wb"))

        def sink(piece: bytes) -> None:
            file.write(piece)
            digest.update(piece)

        def finish() -> None:
            file.flush()
            os.fsync(file.fileno())

        try:
            await self.store.get_stream(entry.object, sink, generation=entry.generation)
            await self.spawner.blocking(finish)
        except ObjectMissing as error:
            raise Damaged(entry.object, f"generation {entry.generation} is missing") from error
        finally:
            await self.spawner.blocking(file.close)
        return digest


def check_paths(part: Part) -> None:
    """Refuse a manifest that would write outside its directory. Raises `Damaged`."""
    entries: tuple[Entry, ...] = (*part.files, *part.directories, *part.symlinks)
    for path in [part.directory, *(entry.path for entry in entries)]:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\x00" in path:
            raise Damaged(f"part of slot {part.slot}", f"the path {path!r} leads out of the step's directory")


def matches(entry: FileEntry, path: Path) -> bool:
    """Say whether a local file has exactly the content of the entry."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size != entry.size:
            return False
        digest = digest_of(path)
    except FileNotFoundError:
        return False
    return (digest.crc32c, digest.blake3) == (entry.crc32c, entry.blake3)


def finish_tree(part: Part, target: Path) -> None:
    """Give all files their recorded owner, mode and time, and make the tree durable. Owners only where permitted."""
    for link in part.symlinks:
        path = target / link.path
        path.unlink(missing_ok=True)
        path.symlink_to(link.target)
    for entry in part.files:
        path = target / entry.path
        _own(path, entry.uid, entry.gid)
        _mode(path, entry.mode)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    for directory in part.directories:
        sync_directory(target / directory.path)
    sync_directory(target.parent)


def close_directories(part: Part, target: Path) -> None:
    """Give the directories their recorded owners and modes, once the tree is where it belongs.

    A directory that its owner may not write to cannot be moved to another parent, except by root.
    """
    # From the leaves up: below a directory that is closed nothing can be changed any more.
    for directory in sorted(part.directories, key=lambda entry: len(PurePosixPath(entry.path).parts), reverse=True):
        path = target / directory.path
        _own(path, directory.uid, directory.gid)
        _mode(path, directory.mode)
    with contextlib.suppress(PermissionError):
        # A directory that its owner may not read cannot be opened any more.
        sync_directory(target)


def _lay_out(part: Part, target: Path) -> None:
    """Create the directories, and remove what does not belong there, from an earlier try at another commit."""
    entries: tuple[Entry, ...] = (*part.files, *part.directories)
    wanted = {entry.path for entry in entries}
    target.mkdir(parents=True, exist_ok=True)
    for root, directories, files in os.walk(target):
        relative = Path(root).relative_to(target)
        for name in list(directories):
            path = Path(root) / name
            if path.is_symlink():
                path.unlink()
            elif (relative / name).as_posix() not in wanted:
                remove_tree(path)
                directories.remove(name)
        for name in files:
            if (relative / name).as_posix() not in wanted:
                (Path(root) / name).unlink()
    for directory in part.directories:
        (target / directory.path).mkdir(parents=True, exist_ok=True)
    for entry in part.files:
        (target / entry.path).parent.mkdir(parents=True, exist_ok=True)


def _own(path: Path, uid: int, gid: int) -> None:
    status = path.lstat()
    if (status.st_uid, status.st_gid) != (uid, gid):
        with contextlib.suppress(PermissionError):
            os.chown(path, uid, gid, follow_symlinks=False)


def _mode(path: Path, mode: int) -> None:
    with contextlib.suppress(PermissionError):
        path.chmod(mode)
