"""Watches of the in-memory API server: selectors, bookmarks, time-outs, lag, silence, and ways to break them.

As on the real one: the object of a DELETED event is the last one that the selector matched, with the version of the
deletion; a version that is too old is told in the stream; bookmarks come once a minute and 2 s before the end, and
only where they are newer than the version that was asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping

import orjson

from holdfast.seams import ApiError, Clock, Spawner
from tests.support.apiserver_paths import Target
from tests.support.apiserver_selectors import selector_of
from tests.support.apiserver_store import Change, Document

BOOKMARK_S = 60.0
LAST_BOOKMARK_S = 2.0
# For how long a swapped watch keeps an event back where no other follows that could overtake it.
SWAP_S = 1.0


class Watch:
    """One open watch. Lines reach the reader in order, each after the lag that `lag` names."""

    def __init__(
        self,
        target: Target,
        query: Mapping[str, str],
        clock: Clock,
        spawner: Spawner,
        *,
        idle_timeout_s: float,
        version: Callable[[], int],
        lag: Callable[[], float],
        spoiled: Collection[str] = (),
    ) -> None:
        self._target = target
        self._selects = selector_of(target.info, query)
        self._clock = clock
        self._spawner = spawner
        self._idle_timeout_s = idle_timeout_s
        self._timeout_s = float(query.get("timeoutSeconds", "1800"))
        self._since = int(query.get("resourceVersion") or 0)
        self._bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        self._version = version
        self._lag = lag
        self._spoiled = spoiled
        self._ready: asyncio.Queue[bytes | ApiError | None] = asyncio.Queue()
        self._pending: deque[bytes | None] = deque()
        self._wake = asyncio.Event()
        self._heard_at = clock.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self.silent = "silent" in spoiled
        if "closed" in spoiled:
            self.end()

    def open(self) -> None:
        self._tasks = [
            self._spawner.spawn(self._beat(), name="watch-beat"),
            self._spawner.spawn(self._deliver(), name="watch-deliver"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, documents: Iterable[Document]) -> None:
        """Tell of what exists already, to a watch that named no version."""
        for document in documents:
            self._send({"type": "ADDED", "object": document})

    def offer(self, change: Change) -> None:
        """Send a change to the reader as far as the watch's path and selector want it."""
        target = self._target
        namespace = change.document["metadata"].get("namespace", "")
        if change.info != target.info or (target.namespace is not None and namespace != target.namespace):
            return
        matched = change.before is not None and self._selects(change.before)
        if change.type != "DELETED" and self._selects(change.document):
            self._send({"type": "MODIFIED" if matched else "ADDED", "object": change.document})
        elif matched and change.before is not None:
            last = change.document if change.type == "DELETED" else change.before
            metadata = {**last["metadata"], "resourceVersion": str(change.version)}
            self._send({"type": "DELETED", "object": {**last, "metadata": metadata}})

    def end(self) -> None:
        """The server closes the stream."""
        self._ready.put_nowait(None)

    def end_after_events(self) -> None:
        """The server closes the stream once everything until now is delivered."""
        self._pending.append(None)
        self._wake.set()

    def tear(self) -> None:
        """The connection breaks."""
        self._ready.put_nowait(ApiError(0, "Unreachable", "the connection broke"))

    def fail(self, code: int, reason: str, message: str = "") -> None:
        """The server sends an ERROR event, which is the last one."""
        status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
        self._send({"type": "ERROR", "object": {"apiVersion": "v1", **status}})

    def raw(self, line: bytes) -> None:
        """Send any line at all."""
        self._pending.append(line)
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            item = await self._ready.get()
            if item is None:
                return
            if isinstance(item, ApiError):
                raise item
            self._heard_at = self._clock.monotonic()
            yield item

    def _send(self, event: Document) -> None:
        self.raw(orjson.dumps(event))

    async def _deliver(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                if (lag := self._lag()) > 0:
                    await self._clock.sleep(lag)
                for line in await self._next():
                    if not self.silent:
                        self._ready.put_nowait(line)

    async def _next(self) -> list[bytes | None]:
        """Return what is delivered next, in the order and as often as this watch is spoiled to have it."""
        if "swapped" in self._spoiled:
            if len(self._pending) == 1:
                await self._clock.sleep(SWAP_S)
            two = [self._pending.popleft() for _ in range(min(2, len(self._pending)))]
            return two[::-1]
        line = self._pending.popleft()
        return [line, line] if "doubled" in self._spoiled else [line]

    async def _beat(self) -> None:
        """Bookmarks, the end after the asked-for time, and the reader's own idle time-out."""
        opened_at = self._clock.monotonic()
        ends_at, bookmark_at = opened_at + self._timeout_s, self._next_bookmark(opened_at, opened_at)
        while True:
            now = self._clock.monotonic()
            if now >= ends_at:
                self.end()
                return
            if now - self._heard_at >= self._idle_timeout_s:
                self._ready.put_nowait(ApiError(0, "Silent", "the watch went silent"))
                return
            if now >= bookmark_at:
                bookmark_at = self._next_bookmark(now, opened_at)
                self._bookmark()
            due = min(ends_at, self._heard_at + self._idle_timeout_s, bookmark_at)
            await self._clock.sleep(max(0.001, due - now))

    def _bookmark(self) -> None:
        """Tell how far the watch has come, if that is further than where it began."""
        info, version = self._target.info, self._version()
        if version > self._since:
            meta = {"resourceVersion": str(version), "creationTimestamp": None}
            self._send(
                {"type": "BOOKMARK", "object": {"kind": info.kind, "apiVersion": info.api_version, "metadata": meta}}
            )

    def _next_bookmark(self, now: float, opened_at: float) -> float:
        last = opened_at + self._timeout_s - LAST_BOOKMARK_S
        return min(now + BOOKMARK_S, last) if self._bookmarks and now < last else float("inf")
