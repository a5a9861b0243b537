"""Many jobs that run and have nothing to do; then the operator starts anew, and at last its leader is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from holdfast.planning.plan import PODS, TRAINING_JOBS
from tests.bench import counts, load, operators
from tests.bench.lab import Lab
from tests.bench.watching import Follower

WITHIN_S = 600.0


async def idle(lab: Lab, jobs: int, workers: int, seconds: float) -> dict[str, object]:
    """Return what was found, as JSON values."""
    namespace = f"idle-{os.getpid()}"
    await load.make_namespace(lab.transport, namespace)
    running: list[operators.Replica] = []
    try:
        leader = operators.start(lab.kubeconfig, lab.folder, "operator-idle-0")
        running.append(leader)
        await leader.at_rest(60)
        async with Follower(lab.transport, TRAINING_JOBS, namespace, "Running") as told:
            await load.create_all(lab.transport, TRAINING_JOBS, load.jobs(namespace, jobs, workers, "Plain"))
            await told.until(jobs, WITHIN_S)
        # What has been written is told for a moment yet.
        await lab.settle()
        found: dict[str, object] = {"jobs": jobs, "pods": jobs * workers}
        found["rest"] = await _rest(lab, leader, seconds)
        leader.stop()
        leader, found["restart"] = await _restart(lab, jobs)
        running.append(leader)
        standby = operators.start(lab.kubeconfig, lab.folder, "operator-idle-2")
        running.append(standby)
        await standby.ready(60)
        await lab.settle()
        found["failover"] = await _failover(lab, namespace, leader)
    finally:
        for replica in running:
            replica.stop()
        await load.clear(lab.transport, namespace)
    return found


async def _rest(lab: Lab, leader: operators.Replica, seconds: float) -> dict[str, object]:
    before, cpu, own = await counts.writes(lab.transport), lab.cpu(), leader.cpu_s()
    await asyncio.sleep(seconds)
    after = await counts.writes(lab.transport)
    return {
        "seconds": seconds,
        "writes": dict(counts.between(before, after)),
        "operatorCpuS": round(leader.cpu_s() - own, 2),
        "apiServerCpuS": round(lab.cpu()["kube-apiserver"] - cpu["kube-apiserver"], 2),
        "operatorMb": leader.memory_mb(),
        "operatorPeakMb": leader.peak_mb(),
    }


async def _restart(lab: Lab, jobs: int) -> tuple[operators.Replica, dict[str, object]]:
    before, cpu = await counts.writes(lab.transport), lab.cpu()
    began = time.monotonic()
    leader = operators.start(lab.kubeconfig, lab.folder, "operator-idle-1")
    await leader.ready(120)
    ready = time.monotonic() - began
    await leader.at_rest(120)
    rest = time.monotonic() - began
    after = await counts.writes(lab.transport)
    return leader, {
        "readyS": round(ready, 2),
        "allPlannedS": round(rest, 2),
        "writes": dict(counts.between(before, after)),
        "requests": await leader.requests(),
        "operatorCpuS": round(leader.cpu_s(), 2),
        "apiServerCpuS": round(lab.cpu()["kube-apiserver"] - cpu["kube-apiserver"], 2),
        "operatorMb": leader.memory_mb(),
        "operatorPeakMb": leader.peak_mb(),
    }


async def _failover(lab: Lab, namespace: str, leader: operators.Replica) -> dict[str, object]:
    async with Follower(lab.transport, PODS, namespace, "Running") as pods:
        began = time.monotonic()
        leader.stop(signal.SIGKILL)
        await load.create(lab.transport, TRAINING_JOBS, load.job(namespace, "after", 2, "Plain"))
        done = await pods.until(2, 120, among=lambda name: name.startswith("after-"))
    return {"nextActionS": round(done - began, 2)}
