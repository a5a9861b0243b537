"""An API server in memory that implements the `ApiTransport` seam, with versions, watches, faults and virtual time.

    server = MemoryApiServer(clock, spawner)
    server.faults.lose_answer(matching("POST", "/pods"))
    server.kubelet = lambda pod: ...          # told about every version of a pod; must act later, not inside the call

`requests` logs what was asked, so that tests can count writes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson

from holdfast.cluster.merge import apply_merge
from holdfast.seams import ApiError, Clock, Spawner, WatchStream
from tests.support.apiserver_faults import Faults
from tests.support.apiserver_paths import RESOURCES, ResourceInfo, Target, parse_path, selects
from tests.support.apiserver_store import Change, Document, Store
from tests.support.apiserver_watch import Watch

WRITES = ("POST", "PUT", "PATCH", "DELETE")


class MemoryApiServer:
    """One API server. `store` is its state, `faults` what goes wrong, `watches` the open ones.

    `watch_lag` gives the seconds by which each watch event is late. `collect_after_s` is how long the garbage
    collector takes to notice that an owner is gone; None means at once. `documents` are fixed answers by path.
    """

    def __init__(self, clock: Clock, spawner: Spawner, *, seed: int = 0, collect_after_s: float | None = None) -> None:
        self._clock = clock
        self._spawner = spawner
        self._snapshots: dict[str, tuple[int, list[Document]]] = {}
        self.store = Store(clock, seed=seed)
        self.faults = Faults()
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
    ) -> bytes:
        latency = self.faults.latency(method, path)
        await self._clock.sleep(min(latency / 2, timeout_s))
        self.requests.append((method, path))
        if (error := self.faults.take("before", method, path)) is not None:
            raise error
        answer = self._answer(method, path, query or {}, body, content_type)
        if latency > timeout_s:
            await self._clock.sleep(max(0.0, timeout_s - latency / 2))
            raise ApiError(0, "Timeout", f"no answer within {timeout_s} s")
        await self._clock.sleep(latency / 2)
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

    def _answer(self, method: str, path: str, query: Mapping[str, str], body: bytes | None, content_type: str) -> bytes:
        if method == "GET" and path in self.documents:
            return self.documents[path]
        target = parse_path(path)
        if target is None:
            raise ApiError(404, "NotFound", f"the server could not find {path}")
        if method == "GET":
            return orjson.dumps(self._read(target, query))
        document = orjson.loads(body) if body else {}
        return orjson.dumps(self._write(method, target, query, document, content_type))

    def _read(self, target: Target, query: Mapping[str, str]) -> Document:
        if target.name is not None:
            return self.store.get(target.info, target.namespace or "", target.name)
        if token := query.get("continue"):
            if token not in self._snapshots or self._snapshots[token][0] < self.store.compacted:
                raise ApiError(410, "Expired", "the provided continue parameter is too old")
            version, items = self._snapshots[token]
        else:
            version, items = self.store.version, self._select(target, query.get("labelSelector", ""))
        limit = int(query.get("limit", "0")) or len(items)
        meta: Document = {"resourceVersion": str(version)}
        if items[limit:]:
            meta["continue"] = f"{version}.{len(items) - limit}"
            self._snapshots[meta["continue"]] = (version, items[limit:])
        return {"kind": f"{target.info.kind}List", "metadata": meta, "items": items[:limit]}

    def _select(self, target: Target, selector: str) -> list[Document]:
        return [
            {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
            for document in self.all(target.info.plural)
            if (target.namespace is None or document["metadata"].get("namespace") == target.namespace)
            and selects(selector, document["metadata"].get("labels") or {})
        ]

    def _write(
        self, method: str, target: Target, query: Mapping[str, str], document: Any, content_type: str
    ) -> Document:
        store, info, namespace = self.store, target.info, target.namespace or ""
        if method == "POST" and target.name is None:
            return store.create(info, namespace, document, dry_run=query.get("dryRun") == "All")
        if target.name is None or target.subresource not in ("", "status"):
            raise ApiError(405, "MethodNotAllowed", f"{method} is not possible here")
        if method == "DELETE":
            return store.delete(
                info,
                namespace,
                target.name,
                uid=document.get("preconditions", {}).get("uid"),
                version=document.get("preconditions", {}).get("resourceVersion"),
                grace_s=document.get("gracePeriodSeconds"),
            )
        before = store.get(info, namespace, target.name)
        if method == "PATCH":
            if content_type != "application/merge-patch+json":
                raise ApiError(415, "UnsupportedMediaType", content_type)
            document = apply_merge(before, document)
        return store.update(info, before, document, status=target.subresource == "status")

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
        since = int(query["resourceVersion"])
        if since < self.store.compacted:
            raise ApiError(410, "Expired", "too old resource version")
        watch = Watch(
            target,
            query.get("labelSelector", ""),
            self._clock,
            self._spawner,
            idle_timeout_s=idle_timeout_s,
            timeout_s=float(query.get("timeoutSeconds", "300")),
            version=lambda: self.store.version,
            lag=self.watch_lag,
        )
        for change in self.store.history:
            if change.version > since:
                watch.offer(change)
        self.watches.append(watch)
        watch.open()
        try:
            yield watch
        finally:
            self.watches.remove(watch)
            await watch.close()

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
