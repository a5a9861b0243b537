"""How the operator grows with the number of jobs, against the API server in memory: `python -m tests.bench.memory`.

The server in this process is no measure of speed; what is measured is the operator's process: memory, CPU, writes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from deploy.kind.console import say
from holdfast.seams.real import SystemClock, TaskSpawner
from tests.bench import load, operators, report
from tests.bench.machine import machine
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_http import HttpApiServer
from tests.support.apiserver_store import Document

NODES = 200
# Versions that the server keeps for watches that are opened again.
HISTORY = 50_000
SIZES = (2500, 5000, 10000, 20000)
# The columns that a line is fitted to, with the unit of a job's share.
FITTED = (("restMb", "MB"), ("restartMb", "MB"), ("restartCpuS", "s CPU"), ("restartS", "s"))


class Kubelets:
    """Binds every pod and lets it run, in two writes, a moment after it was created."""

    def __init__(self, server: MemoryApiServer) -> None:
        self._server = server
        self._line: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
        self._bound = 0

    def saw(self, pod: Document) -> None:
        if not pod["spec"].get("nodeName"):
            self._line.put_nowait(("bind", pod["metadata"]["namespace"], pod["metadata"]["name"]))

    async def run(self) -> None:
        while True:
            what, namespace, name = await self._line.get()
            pod = self._server.find("pods", namespace, name)
            if pod is not None and what == "bind":
                self._bound += 1
                self._server.merge("pods", namespace, name, {"spec": {"nodeName": f"node-{self._bound % NODES:03d}"}})
                self._line.put_nowait(("run", namespace, name))
            elif pod is not None:
                status = [{"name": "trainer", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]
                patch = {"status": {"phase": "Running", "containerStatuses": status}}
                self._server.merge("pods", namespace, name, patch, status=True)
            await asyncio.sleep(0)


class World:
    """The server, its nodes and kubelets, and one operator after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = MemoryApiServer(SystemClock(), TaskSpawner())
        self.server = HttpApiServer(self.memory)
        self._kubelets = Kubelets(self.memory)
        self.memory.kubelet = self._kubelets.saw
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.server.start()
        self.kubeconfig = self.server.kubeconfig(self.folder)
        for number in range(NODES):
            node = {
                "metadata": {"name": f"node-{number:03d}"},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }
            self.memory.put("nodes", node)
        self._task = asyncio.create_task(self._kubelets.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self.server.stop()

    def operator(self, name: str) -> operators.Replica:
        return operators.start(self.kubeconfig, self.folder, name)

    async def grow(self, first: int, last: int) -> None:
        """Add jobs of two and three workers by turns, and wait until all run."""
        for number in range(first, last):
            self.memory.put("trainingjobs", load.job("ns", f"job-{number:05d}", 2 + number % 2, "Plain"))
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        while self.running() < last:
            await asyncio.sleep(0.2)
            if len(self.memory.store.history) > HISTORY:
                self.memory.store.compact()

    def running(self) -> int:
        return sum(1 for place, item in self.memory.store.objects.items() if _runs(place[0].plural, item))

    def forget(self) -> None:
        self.memory.requests.clear()
        self.server.agents.clear()

    def writes(self) -> dict[str, int]:
        return dict(Counter(method for method, _ in self.memory.writes()))


def _runs(plural: str, item: Document) -> bool:
    return plural == "trainingjobs" and item.get("status", {}).get("phase") == "Running"


async def run(wanted: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Grow to each size in turn; at each, look at rest and start the operator anew."""
    world = World(folder)
    await world.start()
    found: list[dict[str, Any]] = []
    operator = world.operator("operator-memory-0")
    try:
        await operator.at_rest(60)
        jobs = 0
        for size in wanted.sizes:
            before, began = operator.cpu_s(), time.monotonic()
            await world.grow(jobs, size)
            row: dict[str, Any] = {"jobs": size, "pods": len(world.memory.all("pods"))}
            row["growMsPerJob"] = round(1000 * (operator.cpu_s() - before) / (size - jobs), 3)
            row["growS"] = round(time.monotonic() - began, 1)
            jobs = size
            row |= await _rest(world, operator, wanted.seconds)
            operator.stop()
            operator, restarted = await _restart(world, f"operator-memory-{size}")
            row |= restarted
            found.append(row)
            say(json.dumps(row))
    finally:
        operator.stop()
        await world.stop()
    return {"machine": machine().as_json(), "commit": report.commit(), "sizes": found, "fits": fits(found)}


async def _rest(world: World, operator: operators.Replica, seconds: float) -> dict[str, Any]:
    await asyncio.sleep(5)
    world.forget()
    before = operator.cpu_s()
    await asyncio.sleep(seconds)
    return {
        "restSeconds": seconds,
        "restWrites": world.writes(),
        "restCpuS": round(operator.cpu_s() - before, 2),
        "restMb": operator.memory_mb(),
        "peakMb": operator.peak_mb(),
    }


async def _restart(world: World, name: str) -> tuple[operators.Replica, dict[str, Any]]:
    world.forget()
    began = time.monotonic()
    operator = world.operator(name)
    await operator.ready(300)
    ready = time.monotonic() - began
    await operator.at_rest(600)
    return operator, {
        "restartReadyS": round(ready, 2),
        "restartS": round(time.monotonic() - began, 2),
        "restartCpuS": round(operator.cpu_s(), 2),
        "restartMb": operator.memory_mb(),
        "restartPeakMb": operator.peak_mb(),
        "restartRequests": len(world.memory.requests),
        "restartWrites": world.writes(),
    }


def fits(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Fit a line to each column by least squares: what an operator without jobs needs, and 1,000 jobs more."""
    return {column: fit([(row["jobs"] / 1000, row[column]) for row in found]) for column, _ in FITTED}


def fit(points: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the line through `points`, and the largest distance of one of them from it, as a part of its value."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    width = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / width if width else 0.0
    start = mean_y - slope * mean_x
    off = max(abs(y - start - slope * x) / y for x, y in points if y)
    return {"at0": round(start, 3), "per1000": round(slope, 3), "largestResidual": round(off, 3)}


def text(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    columns = list(found["sizes"][0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(row[column]) for column in columns) + " |" for row in found["sizes"]]
    for column, unit in FITTED:
        line = found["fits"][column]
        growth = f"{line['at0']} {unit} + {line['per1000']} {unit} per 1,000 jobs"
        lines.append(f"{column}: {growth} (largest residual {line['largestResidual']:.0%})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seconds", type=float, default=20, help="how long each size is watched at rest")
    parser.add_argument("--results", type=Path)
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(wanted, folder))
    results = wanted.results or folder / f"memory-{time.strftime('%Y%m%d-%H%M%S')}.json"
    results.write_text(json.dumps(found, indent=1))
    print(text(found))
    print(f"results: {results}; logs: {folder}")


if __name__ == "__main__":
    main()
