"""The documents in the bucket, as typed JSON. Objects are created once and never change.

All names are camelCase on the wire; unknown fields are ignored; a higher `version` is refused, because guessing at a
document that decides which state is restored would be worse than stopping. Checksums: `crc32c` is an unsigned number
(what the bucket checks), `blake3` is 64 hexadecimal digits (what tells a wrong file from a right one).
"""

from __future__ import annotations

from typing import Final, Literal, TypeVar

import msgspec

VERSION: Final = 1

Evidence = Literal["Explicit", "Structural", "Quiescent"]
PlanKind = Literal["Commit", "Fresh", "NoRestorableCheckpoint", "Refused"]


class ManifestError(Exception):
    """A document in the bucket that is not what its name says. `object` is its name, `problem` one sentence."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.object = name
        self.problem = problem


class NewerVersion(ManifestError):
    """A document that a newer Holdfast wrote: it is not damaged, this program is too old for it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A document in the bucket."""

    version: int = VERSION


class Piece(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A piece of a document."""


class Owner(Manifest, frozen=True):
    """The job that the prefix belongs to; `job_created` is RFC 3339."""

    namespace: str
    job: str
    job_uid: str
    job_created: str


class Run(Manifest, frozen=True):
    """One attempt's right to commit. It names no parent: its agreed restore round does."""

    namespace: str
    job: str
    job_uid: str
    job_created: str
    attempt: int
    layout: str
    parts: int


class Inventory(Manifest, frozen=True):
    """The steps that a slot found complete on its own volume; its being there says that the slot takes part."""

    slot: str
    steps: tuple[int, ...] = ()


class CommitRef(Piece, frozen=True):
    """One commit: the step `step` of the run `run`."""

    run: int
    step: int


class Plan(Manifest, frozen=True):
    """What one restore round proposes, and which order it serves.

    `commit` is set where `kind` is `Commit`; `message` explains the two kinds that end the attempt. `job_uid` and
    `digest` say whose order was served, so that a later attempt does not serve it again.
    """

    kind: PlanKind
    commit: CommitRef | None = None
    job_uid: str = ""
    digest: str = ""
    message: str = ""


class Verdict(Manifest, frozen=True):
    """What a slot says to a plan. `Ok` is always the same bytes (`OK`), so that a listing is enough to count it."""

    verdict: Literal["Ok", "Veto"]
    object: str = ""
    problem: str = ""


class Entry(Piece, frozen=True):
    """Something in a step's directory; `path` is relative to that directory."""

    path: str


class FileEntry(Entry, frozen=True):
    """One regular file; `object` is its name below the destination."""

    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    crc32c: int
    blake3: str
    object: str
    generation: int


class DirectoryEntry(Entry, frozen=True):
    """One directory; the step's own has the path "."."""

    mode: int
    uid: int
    gid: int


class SymlinkEntry(Entry, frozen=True):
    """One symbolic link with its text as it was."""

    target: str


class Part(Manifest, frozen=True):
    """Everything of one step that one slot wrote. `directory` is the step's directory below the trainer's mount."""

    run: int
    step: int
    attempt: int
    job_uid: str
    slot: str
    parts: int
    directory: str
    format: str
    evidence: Evidence
    files: tuple[FileEntry, ...] = ()
    directories: tuple[DirectoryEntry, ...] = ()
    symlinks: tuple[SymlinkEntry, ...] = ()

    @property
    def bytes(self) -> int:
        """The sum of the files' sizes."""
        return sum(entry.size for entry in self.files)


class CommitPart(Piece, frozen=True):
    """One part manifest as the commit saw it; `bytes` is the size of the data it names."""

    slot: str
    object: str
    generation: int
    crc32c: int
    bytes: int


class Commit(Manifest, frozen=True):
    """THE commit of one step of one run. `parts` is sorted by slot; `committed_at` is RFC 3339."""

    run: int
    step: int
    attempt: int
    job_uid: str
    committed_at: str
    parts: tuple[CommitPart, ...]

    @property
    def bytes(self) -> int:
        """The size of all data that the commit names."""
        return sum(part.bytes for part in self.parts)


M = TypeVar("M", bound=Manifest)


def encode(document: Manifest) -> bytes:
    """Return the document as JSON; equal documents give equal bytes."""
    return msgspec.json.encode(document)


def decode(name: str, data: bytes, kind: type[M]) -> M:
    """Return the document. Raises `ManifestError`, naming the object, where it is not one of that kind, and its
    subclass `NewerVersion` where it may be one that only a newer program understands."""
    try:
        version = msgspec.json.decode(data, type=Manifest).version
        if version > VERSION:
            raise NewerVersion(name, f"version {version} is newer than this Holdfast understands ({VERSION}): upgrade")
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ManifestError(name, f"not a valid {kind.__name__} document: {error}") from error


OK: Final = encode(Verdict(verdict="Ok"))
