"""Waits for many objects to come to a state, by one watch, and says when each did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from holdfast.planning.plan import Resource
from holdfast.seams import ApiTransport
from tests.bench import load


class _Meta(msgspec.Struct, rename="camel", frozen=True):
    name: str = ""
    uid: str = ""
    resource_version: str = ""


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""


class Seen(msgspec.Struct, frozen=True):
    """As much of an object as a wait needs."""

    metadata: _Meta = _Meta()
    status: _Status = _Status()


class _Event(msgspec.Struct):
    type: str
    object: Seen = Seen()


class _List(msgspec.Struct):
    metadata: _Meta
    items: list[Seen] = []


_event = msgspec.json.Decoder(_Event)
_list = msgspec.json.Decoder(_List)


class Follower:
    """Follows one kind in one namespace from `open` to `close`.

    `reached` maps the UID of each object to the monotonic time at which it was first seen in the phase.
    """

    def __init__(self, transport: ApiTransport, resource: Resource, namespace: str, phase: str) -> None:
        self._transport = transport
        self._path = resource.collection(namespace)
        self._phase = phase
        self.reached: dict[str, float] = {}
        self.names: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.reopened = 0

    async def __aenter__(self) -> Follower:
        first = _list.decode(await load.patiently(self._transport, "GET", self._path))
        for item in first.items:
            self._take(item, gone=False)
        self._task = asyncio.create_task(self._follow(first.metadata.resource_version))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, number: int, within_s: float, *, among: Callable[[str], bool] = lambda name: True) -> float:
        """Wait until `number` objects whose names are `among` have been in the phase. Return when the last came."""

        def times() -> list[float]:
            return [at for uid, at in self.reached.items() if among(self.names[uid])]

        async with asyncio.timeout(within_s):
            while len(found := times()) < number:
                self._changed.clear()
                if self._task is not None and self._task.done():
                    self._task.result()
                    raise ConnectionError(f"the watch of {self._path} has ended")
                await self._changed.wait()
                # One look for many events.
                await asyncio.sleep(0.02)
        return sorted(found)[number - 1]

    async def _follow(self, version: str) -> None:
        """Watch until cancelled, from where the last watch ended: a reader that is behind is cut off."""
        try:
            while True:
                query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3600"}
                async with self._transport.watch(self._path, query=query, idle_timeout_s=3600) as stream:
                    async for line in stream:
                        event = _event.decode(line)
                        if event.type == "ERROR":
                            raise ConnectionError(f"the watch of {self._path} failed: {line[:300]!r}")
                        version = event.object.metadata.resource_version
                        self._take(event.object, gone=event.type == "DELETED")
                self.reopened += 1
        finally:
            self._changed.set()

    def _take(self, item: Seen, *, gone: bool) -> None:
        uid = item.metadata.uid
        self.names.setdefault(uid, item.metadata.name)
        if not gone and item.status.phase == self._phase and uid not in self.reached:
            self.reached[uid] = time.monotonic()
            self._changed.set()
