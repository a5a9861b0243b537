"""How much memory a cache of pods takes: `python -m tests.bench.memory_of_cache [PODS]`.

A child process serves the pages of a list and then a watch in which every pod is told again once, as pods are that
start; this process holds the reflector, the operator's own caches and indexes, and nothing else. The peak is that of
the whole process (`VmHWM`), and the part of the pods is the difference to the process with empty caches.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from holdfast.api import labels
from holdfast.app.kinds import REGISTERED
from holdfast.app.watched import Watched
from holdfast.cluster.objects import Key
from holdfast.planning.plan import PODS, Resource
from holdfast.seams import WatchStream
from holdfast.seams.real import SystemClock, SystemRandom, TaskSpawner

GANG = 64
# Versions from here on are those of the watch.
CHANGED = 1_000_000
RESTORED = '{"kind":"Restored","run":3,"step":400}'
Document = dict[str, Any]


def uid_of(number: int) -> str:
    """Return the UID of a pod."""
    return f"11111111-0000-4000-8000-{number:012}"


def pod(number: int, version: int, *, running: bool) -> Document:
    """Return a pod as a kubelet has reported it, with all that real ones carry."""
    job, host = f"train-{number // GANG:05}", number % GANG
    # A gang starts within ten seconds.
    stamp = f"2026-11-25T{number // GANG % 24:02}:{number // GANG % 60:02}:{host % 10 + 20 * running:02}Z"
    name = f"{job}-0-{host}-1"
    started: Document = {"running": {"startedAt": stamp}}
    states = {
        "holdfast-restore": {"terminated": {
            "exitCode": 0, "reason": "Completed", "startedAt": stamp, "finishedAt": stamp,
            "containerID": f"containerd://{number:064x}", "message": RESTORED}},
        "holdfast-sidecar": started, "trainer": started,
    }  # fmt: skip
    containers = [
        {"name": container, "ready": running, "restartCount": 0, "started": running, "lastState": {}, "state": state,
         "image": f"registry.example/{container}:1.2.3", "imageID": f"registry.example/{container}@sha256:{7:064x}",
         "containerID": f"containerd://{number:064x}"}
        for container, state in states.items()
    ]  # fmt: skip
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": stamp}
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    env = [{"name": f"VARIABLE_{index}", "value": "x" * 40} for index in range(24)]
    spec_containers = [
        {"name": container, "image": f"registry.example/{container}:1.2.3", "command": ["python", "train.py"],
         "env": env, "resources": {"limits": {"google.com/tpu": "4", "memory": "64Gi"}},
         "volumeMounts": [{"name": "data", "mountPath": "/checkpoints"}]}
        for container in states
    ]  # fmt: skip
    marks = {
        labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.JOB_NAME: job, labels.ATTEMPT: "1", labels.SLICE: "0",
        labels.HOST: str(host), labels.ROLE: "worker", labels.JOB_UID: f"00000000-0000-4000-8000-{number // GANG:012}",
        "team": "vision", "app.kubernetes.io/part-of": "pretraining",
    }  # fmt: skip
    owner = {"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrainingJob", "name": job, "controller": True,
             "blockOwnerDeletion": True, "uid": f"00000000-0000-4000-8000-{number // GANG:012}"}  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": f"team-{number // GANG % 40}", "uid": uid_of(number),
            "resourceVersion": str(version), "generation": 1, "creationTimestamp": stamp, "labels": marks,
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "team/note": "y" * 100},
            "ownerReferences": [owner], "managedFields": [{"manager": "holdfast", "fieldsV1": {"f:spec": {}}}] * 3},
        "spec": {
            "nodeName": f"gke-tpu-pool-{number // 4:05}-{host % 4}", "containers": spec_containers,
            "nodeSelector": {"cloud.google.com/gke-nodepool": f"tpu-{number // GANG:05}",
                             "cloud.google.com/gke-tpu-topology": "16x16"}},
        "status": {
            "phase": "Running" if running else "Pending", "hostIP": "10.0.0.1", "podIP": f"10.1.{host}.{number % 250}",
            "startTime": stamp, "qosClass": "Burstable", "conditions": conditions,
            "containerStatuses": containers[2:], "initContainerStatuses": containers[:2]},
    }  # fmt: skip


def serve(pipe: Connection, pods: int) -> None:
    """Answer requests for pages (`start`, `limit`), and for watch lines (-1, index), until the pipe is closed."""
    while True:
        try:
            start, limit = pipe.recv()
        except EOFError:
            return
        if start < 0:
            pipe.send_bytes(orjson.dumps({"type": "MODIFIED", "object": pod(limit, CHANGED + limit, running=True)}))
            continue
        end = min(pods, start + limit)
        metadata = {"resourceVersion": "999999", **({"continue": str(end)} if end < pods else {})}
        items = [pod(number, 1000 + number, running=False) for number in range(start, end)]
        pipe.send_bytes(orjson.dumps({"kind": "PodList", "metadata": metadata, "items": items}))


class Pages:
    """The seam, answered by the child process: a list of pods in pages, nothing of anything else."""

    def __init__(self, pipe: Connection, pods: int) -> None:
        self._pipe, self._pods = pipe, pods

    async def request(self, method: str, path: str, *, query: Mapping[str, str] | None = None, **_: Any) -> bytes:
        """Return one page."""
        if "/pods" not in path:
            return b'{"metadata":{"resourceVersion":"1"},"items":[]}'
        query = query or {}
        self._pipe.send((int(query.get("continue", "0")), int(query["limit"])))
        return self._pipe.recv_bytes()

    @asynccontextmanager
    async def watch(self, path: str, **_: Any) -> AsyncIterator[WatchStream]:
        """Open a watch."""
        yield Lines(self._pipe, self._pods if "/pods" in path else 0)


class Lines:
    """One event for every pod, then silence."""

    def __init__(self, pipe: Connection, pods: int) -> None:
        self._pipe, self._pods = pipe, pods

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number in range(self._pods):
            self._pipe.send((-1, number))
            yield self._pipe.recv_bytes()
            if number % 100 == 0:
                await asyncio.sleep(0)
        await asyncio.Event().wait()


def memory_mib(field: str) -> float:
    """Return `VmRSS` or `VmHWM` of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def nobody(resource: Resource | None, key: Key | None, *, within_s: float = 0.0) -> None:
    """Wake nobody."""


async def measure(pods: int) -> dict[str, float]:
    """Fill the operator's caches with `pods` pods and return what that took, in MiB and seconds."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, pods), daemon=True)
    child.start()
    watched = Watched(Pages(ours, pods), SystemClock(), SystemRandom(), REGISTERED, nobody)
    empty = memory_mib("VmRSS")
    began = time.monotonic()
    tasks = watched.start(TaskSpawner())
    for _ in iter(lambda: watched.synced, True):
        await asyncio.sleep(0.01)
    listed, listed_s = memory_mib("VmHWM"), time.monotonic() - began
    last = uid_of(pods - 1)
    for _ in iter(lambda: int(watched.pods.by_index("uid", last)[0].metadata.resource_version) >= CHANGED, True):
        await asyncio.sleep(0.5)
    found = {
        "pods": float(len(watched.caches[PODS])),
        "empty_mib": empty,
        "peak_listed_mib": listed,
        "peak_mib": memory_mib("VmHWM"),
        "resident_mib": memory_mib("VmRSS"),
        "list_s": listed_s,
        "all_s": time.monotonic() - began,
    }
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    child.terminate()
    return found


def main() -> None:
    """Measure and print one line of JSON."""
    pods = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    found = asyncio.run(measure(pods))
    found["kib_per_pod"] = (found["peak_mib"] - found["empty_mib"]) * 1024 / max(1.0, found["pods"])
    print(orjson.dumps({key: round(value, 2) for key, value in found.items()}).decode())


if __name__ == "__main__":
    main()
