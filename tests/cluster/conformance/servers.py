"""The two API servers that the conformance cases run on, behind the same few calls."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from deploy.fleet.instance import Instance
from holdfast.cluster.lease import LEASES
from holdfast.planning.plan import EVENTS, PODS, SERVICES, TRAINING_JOBS, Resource
from holdfast.reports.authority import SECRETS
from holdfast.seams import ApiError, ApiTransport
from holdfast.seams.real import SystemClock, TaskSpawner
from tests.e2e.admission.manifests import job as job_manifest
from tests.support import fleet
from tests.support.apiserver import MemoryApiServer

Document = dict[str, Any]
MERGE = "application/merge-patch+json"
RESOURCES = {"Pod": PODS, "TrainingJob": TRAINING_JOBS, "Lease": LEASES, "Secret": SECRETS, "Service": SERVICES}
RESOURCES["Event"] = EVENTS
_NAMES = itertools.count(1)


def job(name: str = "j", **spec: Any) -> Document:
    """Return a good TrainingJob."""
    return job_manifest(spec, name)


def pod(name: str = "p", *, labels: dict[str, str] | None = None, **spec: Any) -> Document:
    """Return a pod that no scheduler looks after, so that nobody but the case changes it."""
    held = {"containers": [{"name": "c", "image": "i"}], "schedulerName": "nobody", **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": held}


@dataclass
class Following:
    """A watch that is read by a task: its events so far, and how it ended."""

    events: list[Document] = field(default_factory=list)
    ended: bool = False
    error: ApiError | None = None

    def told(self) -> list[tuple[str, str]]:
        """Return (type, name) of the events about objects."""
        return [(e["type"], e["object"]["metadata"]["name"]) for e in self.events if e["type"] in _CHANGES]


_CHANGES = ("ADDED", "MODIFIED", "DELETED")


class Api:
    """One API server, seen through the seam, with a namespace for one case."""

    def __init__(self, transport: ApiTransport, namespace: str, forget: Callable[[int], None]) -> None:
        self.transport = transport
        self.namespace = namespace
        self.forget = forget

    async def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "", accept: str = "", **query: str
    ) -> Document:
        """Send a request; `kind` is the content type."""
        payload = None if body is None else orjson.dumps(body)
        answer = await self.transport.request(
            method,
            path,
            query=query,
            body=payload,
            content_type=kind or "application/json",
            timeout_s=20,
            accept=accept,
        )
        parsed: Document = orjson.loads(answer)
        return parsed

    def path(self, resource: Resource, name: str = "", part: str = "") -> str:
        whole = resource.item(self.namespace, name) if name else resource.collection(self.namespace)
        return f"{whole}/{part}" if part else whole

    async def create(self, document: Document, **query: str) -> Document:
        return await self.call("POST", self.path(RESOURCES[document["kind"]]), document, **query)

    async def get(self, resource: Resource, name: str, **query: str) -> Document:
        return await self.call("GET", self.path(resource, name), **query)

    async def list(self, resource: Resource, **query: str) -> Document:
        return await self.call("GET", self.path(resource), **query)

    async def patch(self, resource: Resource, name: str, body: Document, part: str = "", **query: str) -> Document:
        return await self.call("PATCH", self.path(resource, name, part), body, kind=MERGE, **query)

    async def put(self, resource: Resource, document: Document, part: str = "") -> Document:
        return await self.call("PUT", self.path(resource, document["metadata"]["name"], part), document)

    async def delete(self, resource: Resource, name: str, **options: Any) -> Document:
        return await self.call("DELETE", self.path(resource, name), options or None)

    async def exists(self, resource: Resource, name: str) -> bool:
        try:
            await self.get(resource, name)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    @asynccontextmanager
    async def following(self, resource: Resource, **query: str) -> AsyncIterator[Following]:
        """Read a watch in the background; it is open when the block begins."""
        found, opened = Following(), asyncio.Event()

        async def read() -> None:
            try:
                async with self.transport.watch(
                    self.path(resource), query={"watch": "1", **query}, idle_timeout_s=60
                ) as stream:
                    opened.set()
                    async for line in stream:
                        found.events.append(orjson.loads(line))
            except ApiError as error:
                found.error = error
            found.ended = True
            opened.set()

        task = asyncio.ensure_future(read())
        try:
            await asyncio.wait_for(opened.wait(), 20)
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(predicate: Callable[[], bool | Awaitable[bool]], within_s: float = 20) -> None:
    """Wait for something that the server does in its own time."""
    async with asyncio.timeout(within_s):
        for _ in itertools.count():
            found = predicate()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.03)


async def refusal(call: Any) -> ApiError:
    """Return what a call was refused with."""
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value


@asynccontextmanager
async def in_memory() -> AsyncIterator[Api]:
    """Run a case on the in-memory server, in real time as on the real one."""
    server = MemoryApiServer(SystemClock(), TaskSpawner(), collect_after_s=0.05)
    yield Api(server, "ns", lambda version: server.store.compact())


@asynccontextmanager
async def on_the_fleet(own: Instance) -> AsyncIterator[Api]:
    """Run a case on a real API server, in a namespace of its own."""
    namespace = f"case-{next(_NAMES)}-{secrets.token_hex(3)}"
    async with fleet.transport_to(own) as transport:
        await fleet.make_namespace(transport, namespace)
        yield Api(transport, namespace, lambda version: fleet.compact(own, version))
