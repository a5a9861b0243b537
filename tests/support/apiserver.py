"""An API server in memory that implements the `ApiTransport` seam, with versions, watches, faults and virtual time.

    server = MemoryApiServer(clock, spawner)
    server.faults.lose_answer(matching("POST", "/pods"))
    server.kubelet = lambda pod: ...          # told about every version of a pod; must act later, not inside the call

`requests` logs what was asked, so that tests can count writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson

from holdfast.cluster.merge import apply_merge
from holdfast.seams import ApiError, Clock, Spawner, WatchStream
from tests.support.apiserver_faults import Faults
from tests.support.apiserver_paths import RESOURCES, ResourceInfo, Target, parse_path
from tests.support.apiserver_reads import Reads, answered
from tests.support.apiserver_rules import our_kinds
from tests.support.apiserver_store import Change, Document, Store, unconditional
from tests.support.apiserver_watch import Watch

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Call:
    """One request as it reaches the server."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes | None
    content_type: str
    accept: str = ""


class MemoryApiServer:
    """One API server. `store` is its state, `faults` what goes wrong, `watches` the open ones.

    `watch_lag` gives the seconds by which each watch event is late. `collect_after_s` is how long the garbage
    collector takes to notice that an owner is gone; None means at once. `documents` are fixed answers by path. Objects
    of our kinds are admitted as `crds/` say; with `any_shape` they may hold anything, for tests that know no kind.
    """

    def __init__(
        self,
        clock: Clock,
        spawner: Spawner,
        *,
        seed: int = 0,
        collect_after_s: float | None = None,
        any_shape: bool = False,
    ) -> None:
        self._clock = clock
        self._spawner = spawner
        self.store = Store(clock, {} if any_shape else our_kinds(), seed=seed)
        self.faults = Faults()
        self._reads = Reads(self.store, self.faults, clock)
        self.watches: list[Watch] = []
        self.watch_lag: Callable[[], float] = lambda: 0.0
        self.documents: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.kubelet: Callable[[Document], None] = lambda pod: None
        self.store.listeners.append(self._changed)
        if collect_after_s is not None:
            self.store.orphaned = lambda owner: self._collect_later(owner, collect_after_s)

    # The seam.

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float = 4.0,
        accept: str = "",
    ) -> bytes:
        call = Call(method, path, query or {}, body, content_type, accept)
        latency, held = self.faults.latency(method, path), self.faults.held_s("request", method, path)
        there_s, back_s = latency / 2 + held, latency / 2 + self.faults.held_s("answer", method, path)
        arrived: asyncio.Future[bytes | ApiError] = asyncio.get_running_loop().create_future()
        if held:
            # A task of the server's: what is on its way arrives, whatever becomes of the caller.
            self._spawner.spawn(self._arrive_later(call, there_s, arrived), name="request-on-its-way")
        await self._clock.sleep(min(there_s, timeout_s))
        if not held:
            arrived.set_result(self._arrive(call))
        if there_s + back_s > timeout_s:
            await self._clock.sleep(max(0.0, timeout_s - there_s))
            raise ApiError(0, "Timeout", f"no answer within {timeout_s} s")
        answer = await arrived
        await self._clock.sleep(back_s)
        if isinstance(answer, ApiError):
            raise answer
        if (error := self.faults.take("after", method, path)) is not None:
            raise error
        return answer

    def watch(
        self, path: str, *, query: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[WatchStream]:
        return self._open_watch(path, query, idle_timeout_s)

    # What tests do from outside.

    def info(self, plural: str) -> ResourceInfo:
        return next(info for info in RESOURCES if info.plural == plural)

    def put(self, plural: str, document: Document) -> Document:
        """Create an object as a user would."""
        namespace = document["metadata"].get("namespace", "")
        return self.store.create(self.info(plural), namespace, document)

    def find(self, plural: str, namespace: str, name: str) -> Document | None:
        return self.store.objects.get((self.info(plural), namespace, name))

    def all(self, plural: str) -> list[Document]:
        """Return every object of a resource, sorted by namespace and name."""
        info = self.info(plural)
        return [self.store.objects[place] for place in sorted(self.store.objects, key=str) if place[0] == info]

    def merge(self, plural: str, namespace: str, name: str, patch: Document, *, status: bool = False) -> Document:
        """Patch an object as another client would."""
        info = self.info(plural)
        before = self.store.get(info, namespace, name)
        return self.store.update(info, before, apply_merge(before, patch), status=status)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Take an object away at once, as the kubelet or another controller would."""
        self.store.remove(self.info(plural), namespace, name)

    def writes(self) -> list[tuple[str, str]]:
        """Return the requests so far that may have changed something, leases left out."""
        return [(method, path) for method, path in self.requests if method in WRITES and "/leases" not in path]

    # Inside.

    async def _arrive_later(self, call: Call, seconds: float, arrived: asyncio.Future[bytes | ApiError]) -> None:
        await self._clock.sleep(seconds)
        answer = self._arrive(call)
        if not arrived.done():
            arrived.set_result(answer)

    def _arrive(self, call: Call) -> bytes | ApiError:
        """Carry a request out, as often as it reaches the server; return the last answer."""
        self.requests.append((call.method, call.path))
        if (error := self.faults.take("before", call.method, call.path)) is not None:
            return error
        try:
            if self.faults.repeated(call.method, call.path):
                with suppress(ApiError):
                    self._answer(call)
                self.requests.append((call.method, call.path))
            return self._answer(call)
        except ApiError as refusal:
            return refusal

    def _answer(self, call: Call) -> bytes:
        if call.method == "GET" and call.path in self.documents:
            return self.documents[call.path]
        target = parse_path(call.path)
        if target is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        if call.method == "GET":
            return orjson.dumps(self._reads.answer(target, call.query, call.accept))
        document = orjson.loads(call.body) if call.body else {}
        return orjson.dumps(answered(self._write(call, target, document), call.accept))

    def _write(self, call: Call, target: Target, document: Any) -> Document:
        store, info, namespace = self.store, target.info, target.namespace or ""
        checks = {"dry_run": call.query.get("dryRun") == "All", "strict": call.query.get("fieldValidation") == "Strict"}
        if call.method == "POST" and target.name is None:
            return store.create(info, namespace, document, **checks)
        if target.name is None or target.subresource not in ("", "status"):
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if call.method == "DELETE":
            return self._delete(target, document, dry_run=checks["dry_run"] or document.get("dryRun") == ["All"])
        before = store.get(info, namespace, target.name)
        if call.method == "PATCH":
            if call.content_type != "application/merge-patch+json":
                raise ApiError(415, "UnsupportedMediaType", f"the in-memory server knows no {call.content_type}")
            document = apply_merge(before, document)
        elif info.conditional and not (document.get("metadata") or {}).get("resourceVersion"):
            raise unconditional(info, target.name)
        return store.update(info, before, document, status=target.subresource == "status", **checks)

    def _delete(self, target: Target, options: Document, *, dry_run: bool) -> Document:
        demanded = options.get("preconditions") or {}
        info, name = target.info, target.name or ""
        document, gone = self.store.delete(
            info,
            target.namespace or "",
            name,
            uid=demanded.get("uid"),
            version=demanded.get("resourceVersion"),
            grace_s=options.get("gracePeriodSeconds"),
            dry_run=dry_run,
        )
        if not gone or info.plural == "pods":
            return document
        details = {"name": name, "group": info.group, "kind": info.plural, "uid": document["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    @asynccontextmanager
    async def _open_watch(
        self, path: str, query: Mapping[str, str], idle_timeout_s: float
    ) -> AsyncIterator[WatchStream]:
        await self._clock.sleep(self.faults.latency("WATCH", path))
        self.requests.append(("WATCH", path))
        target = parse_path(path)
        assert target is not None, path
        if (error := self.faults.take("before", "WATCH", path)) is not None:
            raise error
        watch = Watch(
            target,
            query,
            self._clock,
            self._spawner,
            idle_timeout_s=idle_timeout_s,
            version=lambda: self.store.version,
            lag=self.watch_lag,
            spoiled=self.faults.spoiled(path),
        )
        self._catch_up(watch, target, query)
        self.watches.append(watch)
        watch.open()
        try:
            yield watch
        finally:
            self.watches.remove(watch)
            await watch.close()

    def _catch_up(self, watch: Watch, target: Target, query: Mapping[str, str]) -> None:
        """Tell a new watch what has happened since its version, or what exists where it names none."""
        since = query.get("resourceVersion", "")
        if since in ("", "0"):
            whole = {key: value for key, value in query.items() if key.endswith("Selector")}
            watch.begin(self._reads.whole(target, whole))
        elif int(since) < self.store.compacted:
            watch.fail(410, "Expired", f"too old resource version: {since} ({self.store.compacted})")
            watch.end_after_events()
        else:
            for change in self.store.history:
                if change.version > int(since):
                    watch.offer(change)

    def _changed(self, change: Change) -> None:
        for watch in list(self.watches):
            watch.offer(change)
        if change.info.plural == "pods" and change.type != "DELETED":
            self.kubelet(change.document)

    def _collect_later(self, owner: str, seconds: float) -> None:
        async def collect() -> None:
            await self._clock.sleep(seconds)
            self.store.collect(owner)

        self._spawner.spawn(collect(), name="collector")
