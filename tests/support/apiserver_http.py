"""The in-memory API server behind real HTTP on loopback, for what needs a socket: Kopf, and whole processes."""

from __future__ import annotations

from pathlib import Path

import orjson
import yaml
from aiohttp import web

from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_paths import RESOURCES
from tests.support.apiserver_store import Document

# Kopf watches nothing before it has discovered these, though it never asks for them here.
_NAMESPACES = ("", "v1", "namespaces", "Namespace")
_CRDS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


class HttpApiServer:
    """Serves a `MemoryApiServer` that lives in real time."""

    def __init__(self, memory: MemoryApiServer) -> None:
        self.memory = memory
        self.agents: list[tuple[str, str, str]] = []
        # Paths by the connection that they were asked over.
        self.connections: dict[object, set[str]] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self, directory: Path) -> Path:
        """Write a kubeconfig for this server and return its path."""
        file = directory / "kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "memory",
            "contexts": [{"name": "memory", "context": {"cluster": "memory", "user": "memory"}}],
            "clusters": [{"name": "memory", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "memory", "user": {"token": "unused"}}],
        }
        file.write_text(yaml.safe_dump(document))
        return file

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.agents.append((request.headers.get("User-Agent", ""), request.method, request.path))
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        self.connections.setdefault(peer, set()).add(request.path)
        if (discovered := _discovery(request.path)) is not None:
            return web.json_response(discovered)
        try:
            if request.query.get("watch", "") not in ("", "0", "false"):
                return await self._watch(request)
            body = await self.memory.request(
                request.method,
                request.path,
                query=dict(request.query),
                body=await request.read() or None,
                content_type=request.content_type,
                accept=request.headers.get("Accept", ""),
            )
        except ApiError as error:
            return _status(error)
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        async with self.memory.watch(request.path, query=dict(request.query), idle_timeout_s=3600) as stream:
            await response.prepare(request)
            bare = "as=PartialObjectMetadata;" in request.headers.get("Accept", "").replace(" ", "")
            async for line in stream:
                await response.write((_metadata_only(line) if bare else line) + b"\n")
        return response


def _metadata_only(line: bytes) -> bytes:
    """Return an event with nothing but the metadata of its object."""
    event: Document = orjson.loads(line)
    if event["type"] == "ERROR":
        return line
    kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return orjson.dumps({**event, "object": {**kind, "metadata": event["object"]["metadata"]}})


def _status(error: ApiError) -> web.Response:
    code = error.status or 503
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": error.reason, "message": error.message}
    return web.json_response(body, status=code)


def _discovery(path: str) -> Document | None:
    """Return what API discovery says about the resources, None where the path asks for something else."""
    parts = path.strip("/").split("/")
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = sorted({(info.group, info.version) for info in RESOURCES if info.group} | {_CRDS[:2]})
        return {"kind": "APIGroupList", "groups": [_group(group, version) for group, version in versions]}
    if parts[0] == "api" and len(parts) == 2:
        return _resources("", parts[1])
    if parts[0] == "apis" and len(parts) == 3:
        return _resources(parts[1], parts[2])
    return None


def _group(group: str, version: str) -> Document:
    named = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [named], "preferredVersion": named}


def _resources(group: str, version: str) -> Document:
    found = [info for info in RESOURCES if (info.group, info.version) == (group, version)]
    listed: list[Document] = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "verbs": VERBS, "namespaced": False}
        for place, at, plural, kind in (_NAMESPACES, _CRDS)
        if (place, at) == (group, version)
    ]
    for info in found:
        entry = {"name": info.plural, "singularName": info.kind.lower(), "kind": info.kind, "verbs": VERBS}
        listed.append({**entry, "namespaced": info.namespaced})
        if info.status:
            listed.append({**entry, "name": f"{info.plural}/status", "namespaced": info.namespaced})
    return {"kind": "APIResourceList", "groupVersion": f"{group}/{version}".strip("/"), "resources": listed}
