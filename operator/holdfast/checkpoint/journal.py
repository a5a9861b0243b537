"""What of a step is in the bucket already, kept on the volume so that a restarted sidecar does not send it again.

One line of JSON a file, appended once the bucket has answered. A line cut by a crash is ignored: the file is then
sent again and found to be there. The journal is a memory aid and never evidence: what it says is compared with the
pinned file and with the bucket's own listing before it is believed.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import msgspec

from holdfast.checkpoint.manifests import FileEntry
from holdfast.checkpoint.pin import PinnedFile

log = logging.getLogger(__name__)


class _Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    inode: int
    entry: FileEntry


class Journal:
    """The journal of one step of one run."""

    def __init__(self, folder: Path, run: int, step: int) -> None:
        self._path = folder / f"{run}-{step}.jsonl"
        self._entries: dict[str, _Line] = {}
        self._failed = False

    def load(self) -> None:
        """Read what an earlier life of the sidecar wrote."""
        self._entries.clear()
        with contextlib.suppress(OSError):
            for line in self._path.read_bytes().splitlines():
                with contextlib.suppress(msgspec.DecodeError):
                    entry = msgspec.json.decode(line, type=_Line)
                    self._entries[entry.entry.path] = entry

    def find(self, file: PinnedFile) -> FileEntry | None:
        """Return the entry of exactly this file, or None."""
        line = self._entries.get(file.path)
        if line is None:
            return None
        same = (line.inode, line.entry.size, line.entry.mtime_ns) == (file.inode, file.size, file.mtime_ns)
        return line.entry if same else None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, file: PinnedFile, entry: FileEntry) -> None:
        """Record that the file is in the bucket, as far as the volume takes it."""
        line = _Line(inode=file.inode, entry=entry)
        self._entries[entry.path] = line
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as journal:
                journal.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            # A full volume is freed by uploads alone, so it must never stop one.
            if not self._failed:
                log.warning("checkpoint.journal_not_written", extra={"path": str(self._path), "error": str(error)})
            self._failed = True

    def discard(self) -> None:
        """Remove the journal: the part manifest says it all, or the step was given up."""
        self._entries.clear()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
