"""Patience around an object store: what may pass is tried again, with growing, jittered pauses.

Two kinds of patience exist. The restore step must not give up, since nothing can start without it: its patience has
no end, and it also waits, slowly, for a missing bucket or permission, because people repair those. The sidecar
must go on looking at the directory, so its patience is short and the next pass tries again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from holdfast.api.wire import StoreState
from holdfast.seams import (
    BucketMissing,
    Clock,
    Folder,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    PermissionDenied,
    PreconditionFailed,
    Random,
    StoreError,
    StoreUnavailable,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. `attempts` None is without end; pauses are in seconds.

    `repair_pause_s` is the pause after an error that only people can end; None raises it at once.
    """

    attempts: int | None = 4
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
    repair_pause_s: float | None = None


SHORT = Patience()
ENDLESS = Patience(attempts=None, repair_pause_s=20.0)


def trouble(error: StoreError) -> StoreState:
    """Return the error as the state that is reported."""
    if isinstance(error, BucketMissing):
        return StoreState(ready=False, reason="BucketNotFound", message=str(error))
    if isinstance(error, PermissionDenied):
        return StoreState(ready=False, reason="AccessDenied", message=str(error))
    reason = "StoreUnavailable" if isinstance(error, StoreUnavailable) else "StoreRefused"
    return StoreState(ready=False, reason=reason, message=str(error))


class Retrier:
    """Repeats one call as its patience allows. `on_state` hears of every failure, and of the success that ends it."""

    def __init__(
        self, patience: Patience, clock: Clock, random: Random, on_state: Callable[[StoreState], None] | None = None
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._random = random
        self._on_state = on_state
        self._troubled = False

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns. Raises the last `StoreError` when patience has ended."""
        failures = 0
        while True:
            try:
                answer = await attempt()
            except (ObjectMissing, PreconditionFailed):
                # These are answers: the store works.
                self._report(None)
                raise
            except StoreError as error:
                failures += 1
                self._report(trouble(error))
                pause = self._pause(error, failures)
                if pause is None:
                    raise
            else:
                self._report(None)
                return answer
            await self._clock.sleep(pause)

    def _pause(self, error: StoreError, failures: int) -> float | None:
        patience = self._patience
        if patience.attempts is not None and failures >= patience.attempts:
            return None
        if not isinstance(error, StoreUnavailable):
            base = patience.repair_pause_s
            return None if base is None else self._random.uniform(base / 2, base)
        # Doubling is cut off early, as 2.0 ** 1025 overflows.
        base = min(patience.longest_pause_s, patience.first_pause_s * 2.0 ** min(failures - 1, 16))
        return self._random.uniform(base / 2, base)

    def _report(self, state: StoreState | None) -> None:
        if self._on_state is None or (state is None and not self._troubled):
            return
        self._troubled = state is not None
        self._on_state(state or StoreState())


class PatientStore:
    """An `ObjectStore` that repeats the calls of another one.

    A repeated creation can find its own lost success: it then raises `PreconditionFailed` and the caller compares.
    `get_stream` is not repeated, because its sink already has the first bytes: the caller starts afresh with `retrier`.
    """

    def __init__(self, store: ObjectStore, retrier: Retrier) -> None:
        self._store = store
        self.retrier = retrier

    async def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        """Write a small object."""
        return await self.retrier.call(lambda: self._store.put(name, data, if_generation=if_generation))

    async def put_stream(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        *,
        if_generation: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Write a stream; every attempt starts at the source's beginning."""

        async def attempt() -> ObjectInfo:
            source.seek(0)
            return await self._store.put_stream(name, source, size, if_generation=if_generation, progress=progress)

        return await self.retrier.call(attempt)

    async def get(self, name: str, *, generation: int | None = None) -> tuple[bytes, ObjectInfo]:
        """Read a small object."""
        return await self.retrier.call(lambda: self._store.get(name, generation=generation))

    async def get_stream(
        self, name: str, sink: Callable[[bytes], None], *, generation: int | None = None
    ) -> ObjectInfo:
        """Read a stream once."""
        return await self._store.get_stream(name, sink, generation=generation)

    async def list(self, prefix: str) -> list[ObjectInfo]:
        """Return the objects whose names start with `prefix`."""
        return await self.retrier.call(lambda: self._store.list(prefix))

    async def list_folder(self, folder: str) -> Folder:
        """Return what is directly in `folder`."""
        return await self.retrier.call(lambda: self._store.list_folder(folder))

    async def delete(self, name: str, *, generation: int | None = None) -> None:
        """Delete an object."""
        await self.retrier.call(lambda: self._store.delete(name, generation=generation))

    async def close(self) -> None:
        """Release connections."""
        await self._store.close()
