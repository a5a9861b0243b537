"""Sending one pinned step to the bucket, and writing this slot's part manifest once all of it is there.

Objects are created with generation 0 under names that hold run, step and slot, so only this slot's sidecars ever write
them. One that is already there with the same size and crc32c is this slot's own earlier success; one that differs was
sent by an earlier life from a step that the trainer has written anew since, and is replaced as long as no part
manifest names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.api.wire import SidecarConfig
from holdfast.checkpoint import layout
from holdfast.checkpoint.errors import TornRead, Unsupported
from holdfast.checkpoint.hashing import Digest, HashingReader
from holdfast.checkpoint.journal import Journal
from holdfast.checkpoint.manifests import FileEntry, Part, decode, encode
from holdfast.checkpoint.parallel import each
from holdfast.checkpoint.pin import Pin, PinnedFile, check
from holdfast.checkpoint.store.create import create_once
from holdfast.seams import ObjectInfo, ObjectMissing, ObjectStore, PreconditionFailed, Spawner

# Up to this size a file is one small request; larger ones are streamed.
_SMALL = 1024 * 1024
# How often an object that keeps coming back under our name is replaced before the step is given up for now.
_REPLACEMENTS = 5


class Postponed(Exception):
    """The upload was stopped because something more urgent came; the journal keeps the files that were sent."""


@dataclass(slots=True)
class Uploader:
    """Sends steps of one run. `sent` hears of every number of bytes that reached the bucket."""

    config: SidecarConfig
    run: int
    store: ObjectStore
    spawner: Spawner
    sent: Callable[[int], None]

    async def upload(self, pin: Pin, journal: Journal, go_on: Callable[[], bool]) -> Part:
        """Send a step and return its part manifest as the bucket holds it.

        Raises `TornRead` where a file changed, `Unsupported`, `Postponed` where `go_on` says no before a file, and
        the store's errors. Whatever was sent before counts when it is tried again.
        """
        self._check_names(pin)
        await self.spawner.blocking(journal.load)
        listed = await self._listed(pin) if len(journal) else {}
        entries: dict[str, FileEntry] = {}

        async def one(file: PinnedFile) -> None:
            if not go_on():
                raise Postponed
            known = journal.find(file)
            if known is not None and _still_there(known, listed.get(known.object)):
                entries[file.path] = known
            else:
                entries[file.path] = await self._send(pin, file)
                await self.spawner.blocking(lambda: journal.add(file, entries[file.path]))
            self.sent(file.size)

        # The largest first, so that the last stream is a short one.
        await each(self.spawner, sorted(pin.record.files, key=lambda file: -file.size), one, name="upload")
        part = self._part(pin, entries)
        name = layout.part(self.run, pin.record.step, self.config.slot)
        created = await create_once(self.store, name, encode(part))
        return decode(name, created.data, Part)

    def _check_names(self, pin: Pin) -> None:
        for file in pin.record.files:
            try:
                layout.data_object(self.run, pin.record.step, self.config.slot, file.path)
            except ValueError as error:
                raise Unsupported(str(error)) from error

    async def _listed(self, pin: Pin) -> dict[str, ObjectInfo]:
        folder = layout.data_folder(self.run, pin.record.step, self.config.slot)
        return {info.name: info for info in await self.store.list(folder)}

    async def _send(self, pin: Pin, file: PinnedFile) -> FileEntry:
        name = layout.data_object(self.run, pin.record.step, self.config.slot, file.path)
        for _ in range(_REPLACEMENTS):
            digest, info = await self._create(pin, file, name)
            if (info.size, info.crc32c) == (digest.size, digest.crc32c):
                return FileEntry(
                    path=file.path,
                    size=file.size,
                    mode=file.mode,
                    uid=file.uid,
                    gid=file.gid,
                    mtime_ns=file.mtime_ns,
                    crc32c=digest.crc32c,
                    blake3=digest.blake3,
                    object=name,
                    generation=info.generation,
                )
            await self.store.delete(name, generation=info.generation)
        raise TornRead(f"{file.path} is different each time it is sent")

    async def _create(self, pin: Pin, file: PinnedFile, name: str) -> tuple[Digest, ObjectInfo]:
        """Create the object, or find it, and return what was read of the file and what the bucket holds."""
        reader = await self.spawner.blocking(lambda: HashingReader(pin.open(file)))
        try:
            try:
                if file.size <= _SMALL:
                    data = await self.spawner.blocking(reader.read)
                    info = await self.store.put(name, data, if_generation=0)
                else:
                    info = await self.store.put_stream(name, reader, file.size, if_generation=0)
                digest = reader.digest
            except PreconditionFailed:
                digest = await self.spawner.blocking(lambda: _digest(reader))
                info = await self._existing(name)
            check(file, reader.fileno())
        except asyncio.CancelledError:
            # The thread goes on without us up to its next piece.
            reader.abandon()
            raise
        except BaseException:
            # Whatever ends the upload, the file must not stay open.
            reader.close()
            raise
        reader.close()
        if digest.size != file.size:
            raise TornRead(f"{file.path} has {digest.size} and not {file.size} bytes")
        return digest, info

    async def _existing(self, name: str) -> ObjectInfo:
        for info in await self.store.list(name):
            if info.name == name:
                return info
        raise ObjectMissing(f"object {name!r} was there and is gone again")

    def _part(self, pin: Pin, entries: dict[str, FileEntry]) -> Part:
        record = pin.record
        return Part(
            run=self.run,
            step=record.step,
            attempt=self.config.attempt,
            job_uid=self.config.job_uid,
            slot=self.config.slot,
            parts=self.config.parts,
            directory=record.directory,
            format=record.format,
            evidence=record.evidence,
            files=tuple(entries[file.path] for file in record.files),
            directories=record.directories,
            symlinks=record.symlinks,
        )


def _still_there(entry: FileEntry, info: ObjectInfo | None) -> bool:
    return info is not None and (info.generation, info.size) == (entry.generation, entry.size)


def _digest(reader: HashingReader) -> Digest:
    reader.seek(0)
    while reader.read(_SMALL):
        pass
    return reader.digest
