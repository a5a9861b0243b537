"""Reading manifests and files back, and telling proven damage from errors that may pass.

Proof is: a document that does not decode or is about something else, a generation that is not there, or a content
that differs from the manifest each time it is read. Anything else is an error of the moment and is raised as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from holdfast.api.wire import Damage
from holdfast.checkpoint import layout
from holdfast.checkpoint.errors import Damaged
from holdfast.checkpoint.hashing import crc32c
from holdfast.checkpoint.manifests import (
    Commit,
    CommitPart,
    CommitRef,
    Manifest,
    ManifestError,
    NewerVersion,
    Part,
    decode,
)
from holdfast.seams import ObjectInfo, ObjectMissing, ObjectStore

M = TypeVar("M", bound=Manifest)

# A line that damages data does so once; a damaged object does so every time.
READS_FOR_PROOF = 3


async def read_commit(store: ObjectStore, ref: CommitRef) -> Commit:
    """Return a commit. Raises `Damaged`."""
    commit = await _read(store, layout.commit(ref.run, ref.step), Commit)
    if (commit.run, commit.step) != (ref.run, ref.step):
        raise Damaged(layout.commit(ref.run, ref.step), f"it is about run {commit.run}, step {commit.step}")
    return commit


async def read_part(store: ObjectStore, commit: Commit, entry: CommitPart) -> Part:
    """Return one slot's part manifest exactly as the commit saw it. Raises `Damaged`."""
    for reading in range(READS_FOR_PROOF):
        try:
            data, _ = await store.get(entry.object, generation=entry.generation)
        except ObjectMissing as error:
            raise Damaged(entry.object, f"generation {entry.generation} is missing") from error
        if crc32c(data) == entry.crc32c:
            break
        if reading == READS_FOR_PROOF - 1:
            raise Damaged(entry.object, f"its crc32c is {crc32c(data)} and not {entry.crc32c}")
    part = _decoded(entry.object, data, Part)
    if (part.run, part.step, part.slot) != (commit.run, commit.step, entry.slot):
        raise Damaged(entry.object, f"it is about run {part.run}, step {part.step}, slot {part.slot}")
    return part


async def find(store: ObjectStore, name: str, kind: type[M]) -> M | None:
    """Return a document that may not be there yet, or None. Asked by a list: a get of what is not there takes two."""
    if not await store.list(name):
        return None
    try:
        data, _ = await store.get(name)
    except ObjectMissing:
        return None
    return decode(name, data, kind)


async def check_part(store: ObjectStore, part: Part) -> tuple[Damage, ...]:
    """Compare a part with what the bucket lists: generation, size and crc32c of every file. Nothing is read."""
    folder = layout.data_folder(part.run, part.step, part.slot)
    listed = {info.name: info for info in await store.list(folder)}
    return tuple(
        Damage(run=part.run, step=part.step, object=entry.object, problem=problem)
        for entry in part.files
        if (problem := _difference(entry.generation, entry.size, entry.crc32c, listed, entry.object))
    )


def _difference(generation: int, size: int, checksum: int, listed: Mapping[str, ObjectInfo], name: str) -> str:
    info = listed.get(name)
    if info is None:
        return "the object is missing"
    if info.generation != generation:
        return f"its generation is {info.generation} and not {generation}"
    if info.size != size:
        return f"its size is {info.size} and not {size} bytes"
    if info.crc32c is not None and info.crc32c != checksum:
        return f"its crc32c is {info.crc32c} and not {checksum}"
    return ""


async def _read(store: ObjectStore, name: str, kind: type[M]) -> M:
    for _ in range(READS_FOR_PROOF - 1):
        try:
            return await _read_once(store, name, kind)
        except Damaged:
            continue
    return await _read_once(store, name, kind)


async def _read_once(store: ObjectStore, name: str, kind: type[M]) -> M:
    try:
        data, _ = await store.get(name)
    except ObjectMissing as error:
        raise Damaged(name, "the object is missing") from error
    return _decoded(name, data, kind)


def _decoded(name: str, data: bytes, kind: type[M]) -> M:
    try:
        return decode(name, data, kind)
    except NewerVersion:
        raise
    except ManifestError as error:
        raise Damaged(error.object, error.problem) from error
