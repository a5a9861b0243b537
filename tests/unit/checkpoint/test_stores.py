"""The memory store and the adapter for Cloud Storage do the same; and what the adapter makes of bad answers."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from holdfast.checkpoint.hashing import PIECE, HashingReader
from holdfast.checkpoint.store.gcs import GcsStore, parse_destination
from holdfast.checkpoint.store.gcs_errors import BadDestination
from holdfast.seams import BucketMissing, ObjectMissing, PermissionDenied, StoreError, StoreUnavailable
from holdfast.seams.real import SystemClock, TaskSpawner
from tests.support.bucket import Bucket, MemoryStore
from tests.support.bucket_server import BucketServer
from tests.unit.checkpoint.store_conformance import StoreConformance

REAL_SERVER = os.environ.get("HOLDFAST_TEST_BUCKET_SERVER", "")


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(Bucket())


@pytest.fixture
def server() -> Iterator[BucketServer]:
    with BucketServer(test=Bucket()) as running:
        yield running


@pytest.fixture
async def gcs(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GcsStore]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    store = GcsStore("gs://test/some/prefix/", TaskSpawner(), SystemClock())
    yield store
    await store.close()


class TestGcsStore(StoreConformance):
    @pytest.fixture
    def store(self, gcs: GcsStore) -> GcsStore:
        return gcs


if REAL_SERVER:

    class TestGcsStoreOnRealServer(StoreConformance):
        """`HOLDFAST_TEST_BUCKET_SERVER` is the URL of a bucket server with the bucket `holdfast`."""

        @pytest.fixture
        async def store(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GcsStore]:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", REAL_SERVER)
            store = GcsStore(f"gs://holdfast/conformance/{uuid.uuid4()}", TaskSpawner(), SystemClock())
            yield store
            for info in await store.list(""):
                await store.delete(info.name)
            await store.close()


async def test_names_are_below_the_prefix(gcs: GcsStore, server: BucketServer) -> None:
    await gcs.put("a/b", b"x")
    assert server.buckets["test"].names() == ["some/prefix/a/b"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, PermissionDenied),
        (403, PermissionDenied),
        (408, StoreUnavailable),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (503, StoreUnavailable),
        (400, StoreError),
    ],
)
async def test_each_status_becomes_one_error_in_every_call(
    gcs: GcsStore, server: BucketServer, tmp_path: Path, status: int, error: type[StoreError]
) -> None:
    server.judge = lambda method, path: status
    (tmp_path / "file").write_bytes(b"x" * (2 * PIECE))
    with HashingReader(tmp_path / "file") as source:
        for call in (
            gcs.put("a", b""),
            gcs.get("a"),
            gcs.list(""),
            gcs.list_folder(""),
            gcs.delete("a"),
            gcs.put_stream("a", source, 2 * PIECE),
        ):
            with pytest.raises(StoreError) as raised:
                await call
            assert type(raised.value) is error


async def test_a_missing_bucket_is_told_from_a_missing_object(
    server: BucketServer, gcs: GcsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ObjectMissing):
        await gcs.get("nothing")
    elsewhere = GcsStore("gs://elsewhere/prefix", TaskSpawner(), SystemClock())
    for call in (elsewhere.put("a", b""), elsewhere.get("a"), elsewhere.list(""), elsewhere.delete("a")):
        with pytest.raises(BucketMissing, match=r"bucket 'elsewhere' does not exist: create it"):
            await call
    await elsewhere.close()


async def test_a_write_that_is_not_found_asks_for_the_bucket(
    server: BucketServer, gcs: GcsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some servers do not say what it is that they do not find.
    server.judge = lambda method, path: 404 if method == "POST" else None
    elsewhere = GcsStore("gs://elsewhere/prefix", TaskSpawner(), SystemClock())
    for write in (elsewhere.put("a", b""), elsewhere.put_stream("a", BytesIO(b"x"), 1)):
        with pytest.raises(BucketMissing, match=r"bucket 'elsewhere' does not exist: create it"):
            await write
    await elsewhere.close()
    for write in (gcs.put("a", b""), gcs.put_stream("a", BytesIO(b"x"), 1)):
        with pytest.raises(StoreUnavailable):
            await write


async def test_a_server_that_is_away_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with BucketServer(test=Bucket()) as stopped:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", stopped.url)
    store = GcsStore("gs://test/prefix", TaskSpawner(), SystemClock())
    with pytest.raises(StoreUnavailable):
        await store.put("a", b"")
    await store.close()


async def test_a_lost_answer_leaves_the_object(gcs: GcsStore, server: BucketServer) -> None:
    server.judge = lambda method, path: "cut" if method == "POST" else None
    with pytest.raises(StoreUnavailable):
        await gcs.put("a", b"there", if_generation=0)
    server.judge = lambda method, path: None
    assert (await gcs.get("a"))[0] == b"there"


async def test_a_file_that_changes_between_hash_and_upload_is_refused_by_the_server(
    gcs: GcsStore, server: BucketServer, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * (3 * PIECE))

    class Changing(HashingReader):
        passes = 0

        def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
            position = super().seek(offset, whence)
            if self.passes == 1:
                with path.open("r+b") as file:
                    file.write(b"b")
            self.passes += 1
            return position

    with Changing(path) as source, pytest.raises(StoreUnavailable, match="wrong checksum"):
        await gcs.put_stream("torn", source, 3 * PIECE, if_generation=0)
    assert server.buckets["test"].names() == []


@pytest.mark.parametrize("destination", ["", "bucket/prefix", "s3://bucket/prefix", "gs://", "gs:///prefix"])
def test_a_destination_of_another_form_is_refused(destination: str) -> None:
    with pytest.raises(BadDestination, match="gs://bucket/prefix"):
        parse_destination(destination)


def test_a_prefix_may_be_empty_and_deep() -> None:
    assert parse_destination("gs://bucket") == ("bucket", "")
    assert parse_destination("gs://bucket/a/b/") == ("bucket", "a/b")
