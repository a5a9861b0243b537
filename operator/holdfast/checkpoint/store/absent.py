"""The store of a job that has none: nothing may ask for it, and whoever does hears why there is none."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import BinaryIO, NoReturn

from holdfast.seams import Folder, ObjectInfo, PermissionDenied


class AbsentStore:
    """An `ObjectStore` for a job without `spec.checkpoint.destination`."""

    async def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        """Refuse."""
        self._refuse(name)

    async def put_stream(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        *,
        if_generation: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Refuse."""
        self._refuse(name)

    async def get(self, name: str, *, generation: int | None = None) -> tuple[bytes, ObjectInfo]:
        """Refuse."""
        self._refuse(name)

    async def get_stream(
        self, name: str, sink: Callable[[bytes], None], *, generation: int | None = None
    ) -> ObjectInfo:
        """Refuse."""
        self._refuse(name)

    async def list(self, prefix: str) -> builtins.list[ObjectInfo]:
        """Refuse."""
        self._refuse(prefix)

    async def list_folder(self, folder: str) -> Folder:
        """Refuse."""
        self._refuse(folder)

    async def delete(self, name: str, *, generation: int | None = None) -> None:
        """Refuse."""
        self._refuse(name)

    async def close(self) -> None:
        """Nothing is held."""

    def _refuse(self, name: str) -> NoReturn:
        raise PermissionDenied(f"object {name!r}: this job has no bucket; set spec.checkpoint.destination")
