"""A bucket in memory with the semantics that Holdfast relies on, and ways to make it misbehave.

`Bucket` is the truth that all clients share: objects, generations, checksums. `MemoryStore` is one client of it and
implements the `ObjectStore` seam. Its `faults` are asked before and after every call took effect: what raises before
is a request that never arrived, what raises after is a lost answer.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from holdfast.checkpoint.hashing import crc32c
from holdfast.seams import (
    BucketMissing,
    Clock,
    Folder,
    ObjectInfo,
    ObjectMissing,
    PermissionDenied,
    PreconditionFailed,
    Random,
    StoreUnavailable,
)

PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """One object. `crc32c` is that of what was written, even where `data` was damaged since."""

    data: bytes
    generation: int
    crc32c: int

    def info(self, name: str) -> ObjectInfo:
        return ObjectInfo(name, self.generation, len(self.data), self.crc32c)


@dataclass(slots=True)
class Bucket:
    """Objects by name. `history` has every change as `(verb, name)`, in the order in which it took effect."""

    objects: dict[str, Stored] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    exists: bool = True
    denied: bool = False
    _generation: int = 1_000

    def names(self, prefix: str = "", suffix: str = "") -> list[str]:
        return sorted(name for name in self.objects if name.startswith(prefix) and name.endswith(suffix))

    def level(self, folder: str) -> tuple[list[str], list[str]]:
        """The names of the objects and of the folders directly in `folder`, both sorted."""
        below = [(name, name[len(folder) :].partition("/")) for name in self.names(folder)]
        folders = {folder + first + slash for _, (first, slash, _) in below if slash}
        return [name for name, (_, slash, _) in below if not slash], sorted(folders)

    def write(self, name: str, data: bytes, if_generation: int | None) -> Stored:
        self.require()
        there = self.objects.get(name)
        if if_generation is not None and if_generation != (there.generation if there else 0):
            raise PreconditionFailed(f"object {name!r} is there in another generation")
        for other in self.objects:
            # Some bucket servers keep objects as files, so no name may be a folder of another one.
            assert not other.startswith(f"{name}/"), f"{name} is a folder of {other}"
            assert not name.startswith(f"{other}/"), f"{other} is a folder of {name}"
        self._generation += 1
        stored = self.objects[name] = Stored(data, self._generation, crc32c(data))
        self.history.append(("put", name))
        return stored

    def read(self, name: str, generation: int | None) -> Stored:
        self.require()
        there = self.objects.get(name)
        if there is None or (generation is not None and generation != there.generation):
            raise ObjectMissing(f"object {name!r} does not exist")
        return there

    def remove(self, name: str, generation: int | None = None) -> None:
        self.require()
        there = self.objects.get(name)
        if there is not None and generation in (None, there.generation):
            del self.objects[name]
            self.history.append(("delete", name))

    def damage(self, name: str) -> None:
        """Flip one bit of an object behind everybody's back: same generation, size and declared checksum."""
        there = self.objects[name]
        middle = len(there.data) // 2
        data = there.data[:middle] + bytes([there.data[middle] ^ 1]) + there.data[middle + 1 :]
        self.objects[name] = Stored(data, there.generation, there.crc32c)

    def require(self) -> None:
        if not self.exists:
            raise BucketMissing("bucket 'test' does not exist: create it, or change spec.checkpoint.destination")
        if self.denied:
            raise PermissionDenied("access to bucket 'test' is denied (403): grant roles/storage.objectUser")


class Faults(Protocol):
    """What goes wrong around a call. Verbs are put, put_stream, get, get_stream, list, list_folder and delete."""

    async def before(self, verb: str, name: str) -> None: ...

    async def after(self, verb: str, name: str) -> None: ...


class NoFaults:
    async def before(self, verb: str, name: str) -> None:
        await asyncio.sleep(0)

    async def after(self, verb: str, name: str) -> None:
        await asyncio.sleep(0)


@dataclass(slots=True)
class RandomFaults:
    """Each call fails before with probability `lost_request`, after with `lost_answer`, and takes up to `delay_s`."""

    random: Random
    clock: Clock
    lost_request: float = 0.1
    lost_answer: float = 0.1
    delay_s: float = 1.0
    enabled: bool = True

    async def before(self, verb: str, name: str) -> None:
        await self._maybe(self.lost_request, f"{verb} {name}: connection refused")

    async def after(self, verb: str, name: str) -> None:
        await self._maybe(self.lost_answer, f"{verb} {name}: connection reset")

    async def _maybe(self, probability: float, message: str) -> None:
        if not self.enabled:
            await asyncio.sleep(0)
            return
        await self.clock.sleep(self.random.uniform(0, self.delay_s))
        if self.random.uniform(0, 1) < probability:
            raise StoreUnavailable(message)


@dataclass(slots=True)
class KillAt:
    """Cancels the caller at its `call`th call (from 1), before or after it took effect: the process dies there."""

    call: int
    after_effect: bool
    count: int = 0

    async def before(self, verb: str, name: str) -> None:
        self.count += 1
        await asyncio.sleep(0)
        if self.count == self.call and not self.after_effect:
            raise asyncio.CancelledError

    async def after(self, verb: str, name: str) -> None:
        if self.count >= self.call and self.after_effect:
            raise asyncio.CancelledError


@dataclass(slots=True)
class Hook:
    """Runs a test's own code before or after chosen calls."""

    on_before: Callable[[str, str], Awaitable[None]] | None = None
    on_after: Callable[[str, str], Awaitable[None]] | None = None

    async def before(self, verb: str, name: str) -> None:
        if self.on_before is not None:
            await self.on_before(verb, name)

    async def after(self, verb: str, name: str) -> None:
        if self.on_after is not None:
            await self.on_after(verb, name)


class MemoryStore:
    """One client of a bucket."""

    def __init__(self, bucket: Bucket, faults: Faults | None = None) -> None:
        self.bucket = bucket
        self.faults: Faults = faults or NoFaults()

    async def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        await self.faults.before("put", name)
        stored = self.bucket.write(name, bytes(data), if_generation)
        await self.faults.after("put", name)
        return stored.info(name)

    async def put_stream(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        *,
        if_generation: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        await self.faults.before("put_stream", name)
        source.seek(0)
        data = b""
        while len(data) < size and (piece := source.read(min(PIECE, size - len(data)))):
            data += piece
            if progress is not None:
                progress(len(data))
            await asyncio.sleep(0)
        if len(data) < size:
            raise StoreUnavailable(f"object {name!r}: the file ended after {len(data)} of {size} bytes")
        stored = self.bucket.write(name, data, if_generation)
        await self.faults.after("put_stream", name)
        return stored.info(name)

    async def get(self, name: str, *, generation: int | None = None) -> tuple[bytes, ObjectInfo]:
        await self.faults.before("get", name)
        stored = self.bucket.read(name, generation)
        await self.faults.after("get", name)
        return stored.data, stored.info(name)

    async def get_stream(
        self, name: str, sink: Callable[[bytes], None], *, generation: int | None = None
    ) -> ObjectInfo:
        await self.faults.before("get_stream", name)
        stored = self.bucket.read(name, generation)
        for start in range(0, len(stored.data), PIECE):
            sink(stored.data[start : start + PIECE])
        await self.faults.after("get_stream", name)
        return stored.info(name)

    async def list(self, prefix: str) -> builtins.list[ObjectInfo]:
        await self.faults.before("list", prefix)
        self.bucket.require()
        found = [stored.info(name) for name, stored in sorted(self.bucket.objects.items()) if name.startswith(prefix)]
        await self.faults.after("list", prefix)
        return found

    async def list_folder(self, folder: str) -> Folder:
        await self.faults.before("list_folder", folder)
        self.bucket.require()
        objects, folders = self.bucket.level(folder)
        await self.faults.after("list_folder", folder)
        return Folder(tuple(self.bucket.objects[name].info(name) for name in objects), tuple(folders))

    async def delete(self, name: str, *, generation: int | None = None) -> None:
        await self.faults.before("delete", name)
        self.bucket.remove(name, generation)
        await self.faults.after("delete", name)

    async def close(self) -> None:
        """Nothing is held."""
