"""Transfers that are given up while a thread works for them: the thread ends at its next piece and hurts nobody."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from holdfast.checkpoint.detect import Found
from holdfast.checkpoint.download import Downloader
from holdfast.checkpoint.errors import TornRead
from holdfast.checkpoint.hashing import PIECE, Abandoned
from holdfast.checkpoint.journal import Journal
from holdfast.checkpoint.manifests import DirectoryEntry, FileEntry, Part
from holdfast.checkpoint.pin import pin
from holdfast.checkpoint.store.retrying import SHORT, PatientStore, Retrier
from holdfast.checkpoint.upload import Uploader
from holdfast.seams import ObjectInfo, StoreUnavailable
from holdfast.seams.real import SystemClock, SystemRandom, TaskSpawner
from tests.support.bucket import Bucket, MemoryStore
from tests.support.gang import config

SIZE = 5 * PIECE


class SlowNetwork(MemoryStore):
    """Streams in threads, as the real store does; each waits after its first piece until the test lets it go on."""

    def __init__(self, spawner: TaskSpawner, waiting: int) -> None:
        super().__init__(Bucket())
        self._spawner = spawner
        self._missing = threading.Semaphore(0)
        self._waiting = waiting
        self.go_on = threading.Event()
        self.ended: list[tuple[str, BaseException | None]] = []
        self.over = threading.Semaphore(0)

    async def all_wait(self) -> None:
        for _ in range(self._waiting):
            await self._spawner.blocking(self._missing.acquire)

    async def put_stream(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        *,
        if_generation: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        if name.endswith("bad"):
            await self.all_wait()
            raise StoreUnavailable("503")

        def call() -> ObjectInfo:
            source.seek(0)
            self._pieces(name, lambda: source.read(PIECE))
            return ObjectInfo(name, 1, size, 0)

        return await self._spawner.blocking(call)

    async def get_stream(
        self, name: str, sink: Callable[[bytes], None], *, generation: int | None = None
    ) -> ObjectInfo:
        if name.endswith("bad"):
            await self.all_wait()
            raise TornRead("given up")

        def call() -> ObjectInfo:
            left = [b"d" * PIECE] * 5

            def piece() -> bytes:
                if left:
                    sink(left[-1])
                return left.pop() if left else b""

            self._pieces(name, piece)
            return ObjectInfo(name, 1, SIZE, 0)

        return await self._spawner.blocking(call)

    def _pieces(self, name: str, piece: Callable[[], bytes]) -> None:
        error: BaseException | None = None
        try:
            piece()
            self._missing.release()
            self.go_on.wait(10)
            while piece():
                pass
        except BaseException as caught:
            # How the thread ended is what the case is about.
            error = caught
            raise
        finally:
            self.ended.append((name.rsplit("/", 1)[1], error))
            self.over.release()


async def test_an_upload_that_is_given_up_reads_nobody_elses_file(tmp_path: Path) -> None:
    spawner = TaskSpawner()
    step = tmp_path / "data" / "100"
    step.mkdir(parents=True)
    for name in ("one", "two", "bad"):
        (step / name).write_bytes(name[:1].encode() * SIZE)
    held = pin(Found(100, "100", "Marker", "Explicit"), tmp_path / "data", tmp_path / "pins")
    store = SlowNetwork(spawner, waiting=2)
    uploader = Uploader(config(), 1, store, spawner, lambda _: None)
    with pytest.raises(StoreUnavailable):
        await uploader.upload(held, Journal(tmp_path / "journal", 1, 100), lambda: True)
    other = tmp_path / "other"
    other.write_bytes(b"X" * SIZE)
    # Whatever is opened next gets the lowest numbers that are free.
    descriptors = [os.open(other, os.O_RDONLY) for _ in range(4)]
    try:
        store.go_on.set()
        for _ in range(2):
            await asyncio.wait_for(spawner.blocking(store.over.acquire), 10)
        assert sorted((name, type(error)) for name, error in store.ended) == [("one", Abandoned), ("two", Abandoned)]
        assert [os.lseek(descriptor, 0, os.SEEK_CUR) for descriptor in descriptors] == [0] * 4
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert not [name for name in open_files() if "/pins/" in name]


async def test_a_download_that_is_given_up_ends_at_its_next_piece(tmp_path: Path) -> None:
    spawner = TaskSpawner()
    store = SlowNetwork(spawner, waiting=2)
    patient = PatientStore(store, Retrier(SHORT, SystemClock(), SystemRandom()))

    def entry(name: str) -> FileEntry:
        common: dict[str, Any] = {"mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": 0, "crc32c": 0, "blake3": ""}
        return FileEntry(path=name, size=SIZE, object=f"data/{name}", generation=1, **common)

    part = Part(
        run=1,
        step=100,
        attempt=1,
        job_uid="uid-1",
        slot="0-0",
        parts=1,
        directory="100",
        format="Marker",
        evidence="Explicit",
        files=(entry("one"), entry("two"), entry("bad")),
        directories=(DirectoryEntry(path=".", mode=0o755, uid=0, gid=0),),
    )
    with pytest.raises(TornRead):
        await Downloader(patient, spawner, lambda _: None).fetch(part, tmp_path / "incoming")
    store.go_on.set()
    for _ in range(2):
        await asyncio.wait_for(spawner.blocking(store.over.acquire), 10)
    assert sorted((name, type(error)) for name, error in store.ended) == [("one", ValueError), ("two", ValueError)]
    assert not [name for name in open_files() if "/incoming/" in name]


def open_files() -> list[str]:
    return [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
