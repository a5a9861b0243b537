"""A real control plane for tests: brought up by the first test that asks for it, and taken down after the last.

It needs no root, no container engine and no image, and comes up in about ten seconds (docs/local-cluster.md). What
cannot come up fails the tests that need it. `HOLDFAST_FLEET` names the instance, so that two sessions do not meet; one
that runs already under that name is used, with what is in it, and left as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from deploy.fleet import controlplane, instance, simulated
from deploy.fleet.instance import Instance
from deploy.kind.paths import cache
from holdfast.cluster.credentials import from_kubeconfig
from holdfast.cluster.transport import HttpTransport
from holdfast.seams import ApiError
from holdfast.seams.real import SystemClock

CRDS = Path(__file__).parents[2] / "crds"
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_READY_S = 30.0
_CLOSING_S = 0.05


@contextmanager
def control_plane(name: str = "", pools: Sequence[str] = ()) -> Iterator[Instance]:
    """Run a control plane, with the node pools that `deploy.fleet up --pools` would be told, around the tests."""
    name = name or os.environ.get("HOLDFAST_FLEET", "holdfast-test")
    before = instance.known(name, cache())
    ran = before is not None and controlplane.whole(before)
    try:
        yield controlplane.up(name, [simulated.parse(pool) for pool in pools], cache())
    finally:
        if not ran:
            controlplane.down(name, cache())


@asynccontextmanager
async def transport_to(own: Instance) -> AsyncIterator[HttpTransport]:
    """Use the project's own transport to a control plane, as its administrator."""
    async with HttpTransport(from_kubeconfig(own.kubeconfig, SystemClock()), user_agent="holdfast-test") as transport:
        yield transport
    # TLS connections end a few turns of the loop after they were closed; a loop that stops earlier leaves them open.
    await asyncio.sleep(_CLOSING_S)


def install_crds(own: Instance) -> None:
    """Create our kinds, or bring them up to date, and wait until they are served."""

    async def install() -> None:
        async with transport_to(own) as transport:
            for path in sorted(CRDS.glob("*.yaml")):
                await _install(transport, yaml.safe_load(path.read_text()))

    asyncio.run(install())


def compact(own: Instance, version: int) -> None:
    """Have etcd forget everything before a resource version."""
    body = json.dumps({"revision": str(version), "physical": True}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{own.port('etcd')}/v3/kv/compaction", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


async def make_namespace(transport: HttpTransport, name: str) -> None:
    """Create a namespace and wait until pods may be created in it."""
    await transport.request("POST", "/api/v1/namespaces", body=orjson.dumps({"metadata": {"name": name}}))
    await _answered(transport, f"/api/v1/namespaces/{name}/serviceaccounts/default")


async def _install(transport: HttpTransport, crd: dict[str, Any]) -> None:
    try:
        await transport.request("POST", _CRD_PATH, body=orjson.dumps(crd))
    except ApiError as error:
        if error.status != 409:
            raise
        patch = orjson.dumps({"spec": crd["spec"]})
        path = f"{_CRD_PATH}/{crd['metadata']['name']}"
        await transport.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
    spec = crd["spec"]
    for version in spec["versions"]:
        await _answered(transport, f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}")


async def _answered(transport: HttpTransport, path: str) -> None:
    """Wait until something is there."""
    async with asyncio.timeout(_READY_S):
        while True:
            try:
                await transport.request("GET", path)
            except ApiError as error:
                if error.status not in (0, 404, 429, 503):
                    raise
                await asyncio.sleep(0.05)
            else:
                return
