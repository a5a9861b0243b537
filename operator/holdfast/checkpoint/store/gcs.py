"""Google Cloud Storage as an `ObjectStore`.

The published client does credentials, lists, deletes and small objects. The streams are our own, because its upload
keeps whole chunks in memory and its parallel paths cost up to 1 GB: here one request carries the file in pieces of
1 MiB. The crc32c is declared before the first byte, so the server refuses what arrived damaged or was changed while it
was being read; the price is a second pass over a file that is in the page cache.

Every blocking call runs in the spawner's thread. Nothing is retried here. `STORAGE_EMULATOR_HOST` (the client
library's own variable) points at another server, which is then used without credentials.
"""

from __future__ import annotations

import builtins
import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import quote

import google_crc32c

from holdfast.checkpoint.hashing import PIECE, crc32c
from holdfast.checkpoint.store.gcs_errors import BadDestination, GcsFailures
from holdfast.seams import Clock, Folder, ObjectInfo, ObjectMissing, Spawner, StoreUnavailable

T = TypeVar("T")

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_DEFAULT_ENDPOINT: Final = "https://storage.googleapis.com"

_CONNECT_S: Final = 10.0
_SMALL_S: Final = 30.0
_LIST_S: Final = 60.0
# A stream that moves no byte for this long has failed.
_STALL_S: Final = 60.0
# ... and so has one that is slower than this on the whole, after a start of `_GRACE_S`.
_SLOWEST_BYTES_PER_S: Final = 100_000
_GRACE_S: Final = 120.0
_CONNECTIONS: Final = 16


def parse_destination(destination: str) -> tuple[str, str]:
    """Return bucket and prefix (without slashes at its ends) of `gs://bucket/prefix`. Raises `BadDestination`."""
    scheme, separator, rest = destination.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "gs" or not separator or not bucket:
        raise BadDestination(f"destination {destination!r} must look like gs://bucket/prefix")
    return bucket, prefix.strip("/")


class _Deadline:
    """The whole deadline of one stream. Raises `StoreUnavailable` from `check` once it has passed."""

    def __init__(self, clock: Clock, size: int) -> None:
        self._clock = clock
        self._budget_s = _GRACE_S + size / _SLOWEST_BYTES_PER_S
        self._end = clock.monotonic() + self._budget_s

    def check(self) -> None:
        if self._clock.monotonic() > self._end:
            raise StoreUnavailable(f"the transfer was not over after {self._budget_s:.0f} s")


class _Body:
    """A request's body that is read in pieces; it starts anew each time it is iterated, so a request can be repeated.

    `__len__` makes the HTTP library declare the length rather than send chunks.
    """

    def __init__(
        self, source: BinaryIO, size: int, deadline: _Deadline, progress: Callable[[int], None] | None
    ) -> None:
        self._source = source
        self._size = size
        self._deadline = deadline
        self._progress = progress

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        self._source.seek(0)
        sent = 0
        while sent < self._size:
            self._deadline.check()
            piece = self._source.read(min(PIECE, self._size - sent))
            if not piece:
                raise StoreUnavailable(f"the file ended after {sent} of {self._size} bytes while it was uploaded")
            sent += len(piece)
            yield piece
            if self._progress is not None:
                self._progress(sent)


class GcsStore:
    """One bucket and prefix. `spawner` runs the blocking calls, `clock` measures the deadlines of streams."""

    def __init__(self, destination: str, spawner: Spawner, clock: Clock) -> None:
        self._bucket_name, prefix = parse_destination(destination)
        self._prefix = f"{prefix}/" if prefix else ""
        self._spawner = spawner
        self._clock = clock
        self._failures = GcsFailures(self._bucket_name)
        self._lock = threading.Lock()
        self._client: Any = None
        self._endpoint = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/") or _DEFAULT_ENDPOINT

    async def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        """Write a small object in one request; the server checks its crc32c."""

        def call() -> ObjectInfo:
            blob = self._bucket().blob(self._prefix + name)
            blob.upload_from_string(
                data,
                content_type="application/octet-stream",
                if_generation_match=if_generation,
                timeout=(_CONNECT_S, _SMALL_S),
                checksum="crc32c",
                retry=None,
            )
            return ObjectInfo(name, int(blob.generation), len(data), crc32c(data))

        return await self._run_write(name, call)

    async def put_stream(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        *,
        if_generation: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Write `size` bytes from the start of `source` in one request of a resumable session."""
        body = _Body(source, size, _Deadline(self._clock, size), progress)
        return await self._run_write(name, lambda: self._upload(name, body, source, if_generation))

    def _upload(self, name: str, body: _Body, source: BinaryIO, if_generation: int | None) -> ObjectInfo:
        size, declared = len(body), 0
        source.seek(0)
        remaining = size
        while remaining > 0 and (piece := source.read(min(PIECE, remaining))):
            declared = google_crc32c.extend(declared, piece)
            remaining -= len(piece)
        query = {"uploadType": "resumable"}
        if if_generation is not None:
            query["ifGenerationMatch"] = str(if_generation)
        session = self._session()
        opened = session.post(
            f"{self._endpoint}/upload/storage/v1/b/{quote(self._bucket_name, safe='')}/o",
            params=query,
            json={"name": self._prefix + name, "crc32c": b64encode(declared.to_bytes(4, "big")).decode()},
            headers={"X-Upload-Content-Length": str(size), "X-Upload-Content-Type": "application/octet-stream"},
            timeout=(_CONNECT_S, _SMALL_S),
        )
        self._failures.check(opened, name)
        answer = session.put(
            opened.headers["Location"],
            data=body if size else b"",
            headers={"Content-Type": "application/octet-stream"},
            timeout=(_CONNECT_S, _STALL_S),
        )
        self._failures.check(answer, name)
        stored = answer.json()
        return ObjectInfo(name, int(stored["generation"]), int(stored["size"]), declared)

    async def get(self, name: str, *, generation: int | None = None) -> tuple[bytes, ObjectInfo]:
        """Read a small object whole."""
        pieces: list[bytes] = []
        info = await self.get_stream(name, pieces.append, generation=generation)
        return b"".join(pieces), info

    async def get_stream(
        self, name: str, sink: Callable[[bytes], None], *, generation: int | None = None
    ) -> ObjectInfo:
        """Read an object in pieces. `sink` is called from another thread; what it raises ends the read."""

        def call() -> ObjectInfo:
            query = {"alt": "media"}
            if generation is not None:
                query["generation"] = str(generation)
            url = f"{self._endpoint}/storage/v1/b/{quote(self._bucket_name, safe='')}/o/"
            with self._session().get(
                url + quote(self._prefix + name, safe=""),
                params=query,
                headers={"Accept-Encoding": "identity"},
                timeout=(_CONNECT_S, _STALL_S),
                stream=True,
            ) as answer:
                self._failures.check(answer, name)
                size, found = 0, 0
                deadline = _Deadline(self._clock, int(answer.headers.get("Content-Length", 0)))
                for piece in answer.iter_content(PIECE):
                    deadline.check()
                    size += len(piece)
                    found = google_crc32c.extend(found, piece)
                    sink(piece)
                if (expected := answer.headers.get("Content-Length")) and int(expected) != size:
                    raise StoreUnavailable(f"{self._where(name)}: the answer was cut after {size} of {expected} bytes")
                return ObjectInfo(name, int(answer.headers.get("X-Goog-Generation", generation or 0)), size, found)

        try:
            return await self._run(name, call)
        except ObjectMissing:
            # The answer for a missing object and for a missing bucket is the same 404.
            await self._require_bucket()
            raise

    async def list(self, prefix: str) -> builtins.list[ObjectInfo]:
        """Return every object whose name starts with `prefix`, sorted by name."""

        def call() -> builtins.list[ObjectInfo]:
            return [self._described(blob) for blob in self._listed(prefix)]

        return sorted(await self._run("", call), key=lambda info: info.name)

    async def list_folder(self, folder: str) -> Folder:
        """Return what is directly in `folder`; the bucket leaves out what lies deeper."""

        def call() -> Folder:
            found = self._listed(folder, delimiter="/")
            # The folders are known once all pages have been read.
            objects = sorted((self._described(blob) for blob in found), key=lambda info: info.name)
            return Folder(tuple(objects), tuple(sorted(name[len(self._prefix) :] for name in found.prefixes)))

        return await self._run("", call)

    async def delete(self, name: str, *, generation: int | None = None) -> None:
        """Delete an object, or one generation of it; what is not there counts as deleted."""

        def call() -> None:
            blob = self._bucket().blob(self._prefix + name, generation=generation)
            blob.delete(timeout=(_CONNECT_S, _SMALL_S), retry=None)

        try:
            await self._run(name, call)
        except ObjectMissing:
            await self._require_bucket()

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._client is not None:
            await self._spawner.blocking(self._session().close)

    async def _require_bucket(self) -> None:
        """Raise `BucketMissing` where the bucket is not there; the roles that Holdfast needs can list, not describe."""

        def call() -> None:
            blobs = self._new_client().list_blobs(
                self._bucket_name, max_results=1, timeout=(_CONNECT_S, _SMALL_S), retry=None
            )
            next(iter(blobs), None)

        await self._run("", call)

    async def _run_write(self, name: str, call: Callable[[], T]) -> T:
        try:
            return await self._run(name, call)
        except ObjectMissing as error:
            # Nothing needs to be there before it is written: it is the bucket, or an upload session that was lost.
            await self._require_bucket()
            raise StoreUnavailable(f"{self._where(name)}: the bucket has lost the upload") from error

    async def _run(self, name: str, call: Callable[[], T]) -> T:
        """Run a call in a thread and turn its failures into the seam's; the empty name stands for the bucket."""

        def guarded() -> T:
            with self._failures.translated(name):
                return call()

        return await self._spawner.blocking(guarded)

    def _listed(self, prefix: str, delimiter: str | None = None) -> Any:
        return self._new_client().list_blobs(
            self._bucket_name,
            prefix=self._prefix + prefix,
            delimiter=delimiter,
            timeout=(_CONNECT_S, _LIST_S),
            retry=None,
        )

    def _described(self, blob: Any) -> ObjectInfo:
        checksum = int.from_bytes(b64decode(blob.crc32c), "big") if blob.crc32c else None
        return ObjectInfo(blob.name[len(self._prefix) :], int(blob.generation), int(blob.size or 0), checksum)

    def _where(self, name: str) -> str:
        return f"gs://{self._bucket_name}/{self._prefix}{name}"

    def _session(self) -> Any:
        return self._new_client()._http

    def _bucket(self) -> Any:
        return self._new_client().bucket(self._bucket_name)

    def _new_client(self) -> Any:
        """Return the client, made at its first use: importing it costs memory and half a second."""
        with self._lock:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def _make_client(self) -> Any:
        import google.auth
        from google.auth.credentials import AnonymousCredentials
        from google.auth.transport.requests import AuthorizedSession
        from google.cloud import storage
        from requests.adapters import HTTPAdapter

        # Both constructors are published without annotations.
        anonymous: Any = AnonymousCredentials
        authorized: Any = AuthorizedSession
        if self._endpoint == _DEFAULT_ENDPOINT:
            credentials, project = google.auth.default(scopes=[_SCOPE])
        else:
            credentials, project = anonymous(), None
        session = authorized(credentials)
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_connections=2, pool_maxsize=_CONNECTIONS))
        # The library insists on a project, which none of the calls that are used here needs.
        return storage.Client(project=project or "holdfast", credentials=credentials, _http=session)
