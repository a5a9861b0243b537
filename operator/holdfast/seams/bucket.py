"""The bucket as a protocol: what the checkpoint path needs of an object store, and nothing more.

The one guard for writers that do not know each other is the generation: `if_generation=0` creates an object only if
it does not exist. Google Cloud Storage gives strong read-after-write and list consistency.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol

import msgspec


class StoreError(Exception):
    """Any failure of the object store. The message names the object or bucket and says what to change."""


class StoreUnavailable(StoreError):
    """It may pass: a time-out, a refused connection, a 429 or a 5xx answer."""


class BucketMissing(StoreError):
    """The bucket does not exist."""


class PermissionDenied(StoreError):
    """The pod's identity may not do this."""


class ObjectMissing(StoreError):
    """The object, or the asked-for generation of it, does not exist."""


class PreconditionFailed(StoreError):
    """The object's generation is not the one that was demanded (HTTP 412)."""


class ObjectInfo(msgspec.Struct, frozen=True):
    """An object as the store describes it. `size` in bytes, `crc32c` as an unsigned number."""

    name: str
    generation: int
    size: int
    crc32c: int | None = None


class Folder(msgspec.Struct, frozen=True):
    """One level of names, both sorted. `folders` are whole names that end with a slash; what is in them is not told."""

    objects: tuple[ObjectInfo, ...]
    folders: tuple[str, ...]


class ObjectStore(Protocol):
    """One bucket and prefix; names are relative to the prefix.

    Every call has a deadline of its own and raises `StoreError`s only. No call retries silently for longer than that
    deadline; callers decide what to repeat.
    """

    async def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        """Write a small object. Raises `PreconditionFailed` where the generation differs."""

    async def put_stream(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        *,
        if_generation: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Write `size` bytes read from `source` with bounded memory; the server checks the crc32c."""

    async def get(self, name: str, *, generation: int | None = None) -> tuple[bytes, ObjectInfo]:
        """Read a small object whole."""

    async def get_stream(
        self, name: str, sink: Callable[[bytes], None], *, generation: int | None = None
    ) -> ObjectInfo:
        """Read an object in pieces, each handed to `sink` in order."""

    async def list(self, prefix: str) -> list[ObjectInfo]:
        """Return every object whose name starts with `prefix`, sorted by name."""

    async def list_folder(self, folder: str) -> Folder:
        """Return what is directly in `folder`, which ends with a slash; one without objects is empty.

        It costs one request for each thousand entries, however many objects lie deeper.
        """

    async def delete(self, name: str, *, generation: int | None = None) -> None:
        """Delete an object; one that is not there counts as deleted."""

    async def close(self) -> None:
        """Release connections."""
