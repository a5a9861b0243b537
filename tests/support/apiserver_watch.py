"""Watches of the in-memory API server: selectors, bookmarks, time-outs, lag, silence, and ways to break them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import orjson

from holdfast.seams import ApiError, Clock, Spawner
from tests.support.apiserver_paths import Target, selects
from tests.support.apiserver_store import Change, Document

BOOKMARK_S = 60.0


class Watch:
    """One open watch. Lines reach the reader in order, each after the lag that `lag` names."""

    def __init__(
        self,
        target: Target,
        selector: str,
        clock: Clock,
        spawner: Spawner,
        *,
        idle_timeout_s: float,
        timeout_s: float,
        version: Callable[[], int],
        lag: Callable[[], float],
    ) -> None:
        self._target = target
        self._selector = selector
        self._clock = clock
        self._spawner = spawner
        self._idle_timeout_s = idle_timeout_s
        self._timeout_s = timeout_s
        self._version = version
        self._lag = lag
        self._ready: asyncio.Queue[bytes | ApiError | None] = asyncio.Queue()
        self._pending: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._heard_at = clock.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self.silent = False

    def open(self) -> None:
        self._tasks = [
            self._spawner.spawn(self._beat(), name="watch-beat"),
            self._spawner.spawn(self._deliver(), name="watch-deliver"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def offer(self, change: Change) -> None:
        """Send a change to the reader as far as the watch's path and selector want it."""
        target = self._target
        namespace = change.document["metadata"].get("namespace", "")
        if change.info != target.info or (target.namespace is not None and namespace != target.namespace):
            return
        matched = change.before is not None and selects(self._selector, _labels(change.before))
        matches = selects(self._selector, _labels(change.document))
        if change.type == "DELETED":
            kind = "DELETED" if matched else ""
        elif matches:
            kind = "MODIFIED" if matched else "ADDED"
        else:
            kind = "DELETED" if matched else ""
        if kind:
            self._send({"type": kind, "object": change.document})

    def end(self) -> None:
        """The server closes the stream."""
        self._ready.put_nowait(None)

    def tear(self) -> None:
        """The connection breaks."""
        self._ready.put_nowait(ApiError(0, "Unreachable", "the connection broke"))

    def fail(self, code: int, reason: str) -> None:
        """The server sends an ERROR event."""
        self._send({"type": "ERROR", "object": {"kind": "Status", "code": code, "reason": reason}})

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
                line = self._pending.popleft()
                if not self.silent:
                    self._ready.put_nowait(line)

    async def _beat(self) -> None:
        """Bookmarks once a minute, the end after the asked-for time, and the reader's own idle time-out."""
        opened_at = bookmark_at = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now - opened_at >= self._timeout_s:
                self.end()
                return
            if now - self._heard_at >= self._idle_timeout_s:
                self._ready.put_nowait(ApiError(0, "Silent", "the watch went silent"))
                return
            if now - bookmark_at >= BOOKMARK_S:
                bookmark_at = now
                meta = {"resourceVersion": str(self._version()), "creationTimestamp": None}
                self._send({"type": "BOOKMARK", "object": {"kind": self._target.info.kind, "metadata": meta}})
            due = (opened_at + self._timeout_s, self._heard_at + self._idle_timeout_s, bookmark_at + BOOKMARK_S)
            await self._clock.sleep(max(0.001, min(due) - now))


def _labels(document: Document) -> dict[str, str]:
    labels: dict[str, str] = document["metadata"].get("labels") or {}
    return labels
