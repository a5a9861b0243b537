"""Processes that can die: at one chosen call to the API server or the bucket, before or after it took effect.

Everything that a process does to the world goes through `ProcessTransport`, `ProcessStore` or `Reports`. From the
moment it is killed nothing of that happens any more, whatever its tasks still do until they are cancelled.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, TypeVar

from holdfast.api import wire
from holdfast.app.operator import Replica
from holdfast.seams import ApiError, Folder, ObjectInfo, StoreError, WatchStream
from holdfast.sidecar.endpoint import ReportFailed
from tests.support.apiserver import MemoryApiServer
from tests.support.bucket import Bucket, Faults, MemoryStore
from tests.support.clock import SeededSpawner

T = TypeVar("T")
When = Literal["before", "after"]


@dataclass
class Fuse:
    """Counts the calls that are made while it is armed, and blows at one of them: who makes it dies there, or pauses.

    `at` counts from 1; 0 never blows. `after` lets the call be carried out first, so that only its answer is lost.
    """

    at: int = 0
    when: When = "before"
    pauses: bool = False
    armed: bool = False
    calls: list[str] = field(default_factory=list)
    blown: str = ""

    def light(self, at: int, when: When) -> None:
        """Count anew from here on; the last explosion is over."""
        self.at, self.when, self.armed, self.blown = at, when, True, ""
        self.calls.clear()

    def begin(self, what: str) -> int:
        """Note a call; return its number, 0 where it does not count."""
        if not self.armed:
            return 0
        self.calls.append(what)
        return len(self.calls)

    def blows(self, number: int, when: When) -> bool:
        if not number or (number, when) != (self.at, self.when) or self.blown:
            return False
        self.blown = f"{when} call {number}: {self.calls[number - 1]}"
        return True


class BucketFaults:
    """What goes wrong around the bucket's calls at the moment, for all processes."""

    def __init__(self) -> None:
        self.faults: Faults | None = None

    async def before(self, verb: str, name: str) -> None:
        await (asyncio.sleep(0) if self.faults is None else self.faults.before(verb, name))

    async def after(self, verb: str, name: str) -> None:
        await (asyncio.sleep(0) if self.faults is None else self.faults.after(verb, name))


class Process:
    """One process: its tasks, and whether it lives. `outside` runs what is left to do once it is dead."""

    def __init__(
        self, name: str, seed: int, outside: SeededSpawner, on_death: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self.spawner = SeededSpawner(seed)
        self.alive = True
        self._outside = outside
        self._on_death = on_death

    def kill(self) -> None:
        """SIGKILL. It may be called from one of its own tasks, which is cancelled at its next `await`."""
        if not self.alive:
            return
        self.alive = False
        self.spawner.cancel()
        self._outside.spawn(self.spawner.stop(), name=f"reap-{self.name}")
        if self._on_death is not None:
            self._on_death()

    async def reach(self, *, dies: bool) -> None:
        """Go on, or die here: a dead process waits for ever for an answer, until it is cancelled."""
        if dies:
            self.kill()
        if not self.alive:
            await asyncio.get_running_loop().create_future()


class ProcessTransport:
    """The API server as one process reaches it."""

    def __init__(self, server: MemoryApiServer, process: Process, fuse: Fuse) -> None:
        self._server = server
        self._process = process
        self._fuse = fuse
        self.watches: list[WatchStream] = []
        self.deceived = False
        self.on_pause: Callable[[], None] = lambda: None
        self._awake = asyncio.Event()
        self._awake.set()

    def sleep(self) -> None:
        """SIGSTOP: what it was about to send, and what it would hear, waits."""
        self._awake.clear()

    def wake(self) -> None:
        """SIGCONT: it goes on with the request that it was about to send, knowing what it knew."""
        self._awake.set()

    async def request(self, method: str, path: str, **rest: Any) -> bytes:
        number = self._fuse.begin(f"{method} {path}")
        await self._reach(number, "before")
        if self.deceived and "/leases" in path:
            raise ApiError(0, "Unreachable", "it never hears that another one holds the lease")
        try:
            answer = await self._server.request(method, path, **rest)
        except ApiError:
            await self._reach(number, "after")
            raise
        await self._reach(number, "after")
        return answer

    def watch(
        self, path: str, *, query: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[WatchStream]:
        return self._open(path, query, idle_timeout_s)

    @asynccontextmanager
    async def _open(self, path: str, query: Mapping[str, str], idle_timeout_s: float) -> AsyncIterator[WatchStream]:
        number = self._fuse.begin(f"WATCH {path}")
        await self._reach(number, "before")
        async with self._server.watch(path, query=query, idle_timeout_s=idle_timeout_s) as stream:
            await self._reach(number, "after")
            self.watches.append(stream)
            yield self._heard(stream)

    async def _heard(self, stream: WatchStream) -> AsyncIterator[bytes]:
        async for line in stream:
            await self._awake.wait()
            yield line

    async def _reach(self, number: int, when: When) -> None:
        blows = self._fuse.blows(number, when)
        if blows and self._fuse.pauses:
            self.sleep()
            self.on_pause()
        await self._awake.wait()
        await self._process.reach(dies=blows and not self._fuse.pauses)


class ProcessStore:
    """The bucket as one process reaches it. Every call counts once, whatever its answer."""

    def __init__(self, bucket: Bucket, process: Process, fuse: Fuse, faults: Faults) -> None:
        self._store = MemoryStore(bucket, faults)
        self._process = process
        self._fuse = fuse

    async def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        return await self._call("put", name, self._store.put(name, data, if_generation=if_generation))

    async def put_stream(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        *,
        if_generation: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        work = self._store.put_stream(name, source, size, if_generation=if_generation, progress=progress)
        return await self._call("put_stream", name, work)

    async def get(self, name: str, *, generation: int | None = None) -> tuple[bytes, ObjectInfo]:
        return await self._call("get", name, self._store.get(name, generation=generation))

    async def get_stream(
        self, name: str, sink: Callable[[bytes], None], *, generation: int | None = None
    ) -> ObjectInfo:
        return await self._call("get_stream", name, self._store.get_stream(name, sink, generation=generation))

    async def list(self, prefix: str) -> builtins.list[ObjectInfo]:
        return await self._call("list", prefix, self._store.list(prefix))

    async def list_folder(self, folder: str) -> Folder:
        return await self._call("list_folder", folder, self._store.list_folder(folder))

    async def delete(self, name: str, *, generation: int | None = None) -> None:
        await self._call("delete", name, self._store.delete(name, generation=generation))

    async def close(self) -> None:
        """Nothing is held."""

    async def _call(self, verb: str, name: str, work: Coroutine[Any, Any, T]) -> T:
        number = self._fuse.begin(f"{self._process.name} {verb} {name}")
        try:
            await self._process.reach(dies=self._fuse.blows(number, "before"))
            answer = await work
        except StoreError:
            await self._process.reach(dies=self._fuse.blows(number, "after"))
            raise
        finally:
            work.close()
        await self._process.reach(dies=self._fuse.blows(number, "after"))
        return answer


class Reports:
    """The report endpoint without its sockets: reports go to whichever replica leads, and its commands come back."""

    def __init__(self, heard: Callable[[wire.Report], None]) -> None:
        self._heard = heard
        self.replicas: Callable[[], list[tuple[Replica, Process]]] = list
        self.reachable = True

    def endpoint(self, *_: Any) -> Reports:
        """Stand in for the class `Endpoint`."""
        return self

    async def post(self, report: wire.Report, wait_s: float = 0.0) -> wire.Answer:
        self._heard(report)
        await asyncio.sleep(0)
        for replica, process in self.replicas():
            if self.reachable and replica.elector.leading and replica.watched.pod_by_uid(report.pod_uid) is not None:
                replica.inbox.put(report)
                commands = replica.commands.of(report.pod_uid)
                if wait_s > 0:
                    # An open command is repeated after a few seconds, as the endpoint does it.
                    seconds = 5.0 if any(item.id not in report.acknowledged for item in commands) else wait_s
                    commands = await replica.commands.wait(report.pod_uid, commands, seconds)
                if not process.alive:
                    break
                open_ = tuple(item for item in commands if item.id not in report.acknowledged)
                polls = report.role == "Sidecar" and report.phase not in ("Flushed", "Finished")
                return wire.Answer(wait_s=60.0 if polls else 0.0, commands=open_)
        raise ReportFailed("no replica of the operator leads at the moment")

    async def close(self) -> None:
        """Nothing is held."""
