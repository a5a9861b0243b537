"""The cluster that is measured on: a bare control plane on the loopback address, with simulated nodes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import yaml

from deploy.fleet import controlplane, simulated
from deploy.fleet.instance import Instance
from deploy.kind.console import say
from deploy.kind.paths import cache
from deploy.kind.process import ProcessRecord
from holdfast.cluster.credentials import discover
from holdfast.cluster.transport import HttpTransport
from holdfast.planning.plan import Resource
from holdfast.seams import ApiError
from holdfast.seams.real import SystemClock
from tests.bench import identity, load, machine, operators

ROOT = Path(__file__).resolve().parents[2]
POOLS = ("n2=20",)
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
# As in the measurements of other operators that ours are compared with.
KUBELETS_NICE = -15
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")


@dataclass
class Lab:
    """The control plane, a client of it, and a folder for logs."""

    instance: Instance
    transport: HttpTransport
    folder: Path
    kubeconfig: Path

    def cpu(self) -> dict[str, float]:
        """Return the seconds of CPU that each part of the control plane has used."""
        records = {part: ProcessRecord.read(self.instance.run / f"{part}.json") for part in PARTS}
        return {part: machine.cpu_s(record.pid) for part, record in records.items() if record is not None}

    def put_kubelets_first(self) -> None:
        """Let simulated kubelets be served before everything else: real ones have machines of their own."""
        if (record := ProcessRecord.read(self.instance.run / "kwok.json")) is None:
            raise RuntimeError("kwok does not run")
        for thread in Path(f"/proc/{record.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), KUBELETS_NICE)

    async def version(self) -> str:
        return str(json.loads(await self.transport.request("GET", "/version"))["gitVersion"])

    async def settle(self, *, busy: float = 0.2, within_s: float = 60) -> None:
        """Wait until the control plane uses less than `busy` cores."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            before = sum(self.cpu().values())
            await asyncio.sleep(1)
            if sum(self.cpu().values()) - before < busy:
                return
        say("the control plane did not come to rest")


@asynccontextmanager
async def lab(name: str, folder: Path, *, keep: bool) -> AsyncIterator[Lab]:
    """Bring the control plane up with our CRDs; take it away at the end."""
    instance = controlplane.up(name, [simulated.parse(one) for one in POOLS], cache())
    try:
        kubeconfig = folder / "bench.kubeconfig"
        access = discover({"KUBECONFIG": str(instance.kubeconfig)}, SystemClock())
        async with HttpTransport(access, user_agent="bench") as transport:
            kubeconfig.write_bytes(await identity.kubeconfig(transport, instance))
        access = discover({"KUBECONFIG": str(kubeconfig)}, SystemClock())
        async with HttpTransport(access, user_agent="bench") as transport:
            made = Lab(instance, transport, folder, kubeconfig)
            made.put_kubelets_first()
            await _prepare(made)
            yield made
    finally:
        if not keep:
            controlplane.down(name, cache())


async def _prepare(made: Lab) -> None:
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text())
        try:
            await load.create(made.transport, CRDS, manifest)
        except ApiError as error:
            if error.status != 409:
                raise
        await _established(made, str(manifest["metadata"]["name"]))
    try:
        await load.make_namespace(made.transport, operators.NAMESPACE)
    except ApiError as error:
        if error.status != 409:
            raise
    # The API server builds its published schema anew after a CRD.
    await made.settle()


async def _established(made: Lab, name: str) -> None:
    for _ in range(100):
        document = orjson.loads(await made.transport.request("GET", CRDS.item(None, name)))
        conditions = document.get("status", {}).get("conditions") or []
        if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"{name} is not established")
