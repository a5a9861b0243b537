"""The simulated kubelets of all nodes: they start a machine for every new pod and end those that are deleted.

What a kubelet does that matters to the operator is here: containers in their order, termination messages, a sidecar
that is started again and that ends after the trainer, deletion with its grace period, a node that is switched off with
everything on it, and one that is cut off and goes on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from holdfast.api import labels as names
from holdfast.checkpoint.upload import Postponed
from holdfast.seams import StoreError
from tests.cluster.life.machine import Killed, Machine
from tests.cluster.life.process import BucketFaults, Fuse, Process
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_store import Change
from tests.support.bucket import Bucket
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock

Document = dict[str, Any]

LOOK_S = 0.2


class Kubelet:
    """All nodes at once. `fuse` counts the calls that restore steps and sidecars make to the bucket."""

    def __init__(
        self,
        server: MemoryApiServer,
        bucket: Bucket,
        clock: VirtualClock,
        spawner: SeededSpawner,
        directory: Path,
        *,
        total_steps: int,
        seed: int = 3,
    ) -> None:
        self.server, self.bucket, self.clock, self.spawner = server, bucket, clock, spawner
        self.random = SeededRandom(seed)
        self.directory = directory
        self.total_steps = total_steps
        self.fuse = Fuse()
        self.bucket_faults = BucketFaults()
        self.nodes = ["n1", "n2", "n3"]
        self.cut: set[str] = set()
        self.machines: dict[str, Machine] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        # Whether trainers tell their steps to the sidecar, and at which step those of an attempt stand still.
        self.talks = False
        self.stalls_at: dict[int, int] = {}
        self.killed: list[Killed] = []
        self.failures: list[tuple[str, BaseException]] = []
        self._processes: list[Process] = []
        self._seed = seed
        self._news = asyncio.Event()
        self._dying: set[str] = set()
        server.store.listeners.append(self._saw)

    def stamp(self) -> str:
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def place(self, pod: Document) -> str:
        """Spread the hosts of a gang over the nodes that are left."""
        host = int(pod["metadata"]["labels"][names.HOST])
        free = [node for node in self.nodes if node not in self.cut]
        return free[host % len(free)]

    def process(self, name: str) -> Process:
        """Begin a process in a container."""
        self._processes = [process for process in self._processes if process.alive or self._blame(process)]
        made = Process(name, self._seed * 1000 + len(self.machines), self.spawner)
        self._processes.append(made)
        return made

    def died_of(self) -> list[tuple[str, BaseException]]:
        """Return what tasks inside of processes died of."""
        for process in self._processes:
            self._blame(process)
        return self.failures

    def _blame(self, process: Process) -> bool:
        # The parent of a task that only stopped early, or that met trouble of the bucket, deals with it.
        meant = (Postponed, StoreError)
        self.failures += [item for item in process.spawner.failures if not isinstance(item[1], meant)]
        process.spawner.failures = []
        return False

    def _saw(self, change: Change) -> None:
        if change.info.plural == "pods":
            self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            await self.clock.sleep(LOOK_S)
            self._news.clear()
            pods = self.server.all("pods")
            for pod in pods:
                self._look(pod)
            present = {pod["metadata"]["uid"] for pod in pods}
            for uid in set(self.machines) - present:
                if self.machines[uid].node not in self.cut:
                    await self._stop(uid)

    def _look(self, pod: Document) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self.machines:
            machine = self.machines[uid] = Machine(self, pod)
            self.tasks[uid] = self.spawner.spawn(self._live(machine), name=f"pod-{machine.name}")
        machine = self.machines[uid]
        asked = pod["metadata"].get("deletionTimestamp")
        if not asked or machine.gone or machine.node in self.cut:
            return
        if self.tasks[uid].done():
            self.server.remove("pods", machine.namespace, machine.name)
        elif uid not in self._dying:
            self._dying.add(uid)
            machine.delete()
            grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            self.spawner.spawn(self._end_grace(uid, grace), name=f"grace-{machine.name}")

    async def _live(self, machine: Machine) -> None:
        await machine.live()
        self._news.set()

    async def _end_grace(self, uid: str, seconds: float) -> None:
        """SIGKILL for what still runs when the grace period is over."""
        await self.clock.sleep(seconds)
        if (task := self.tasks.get(uid)) is not None and not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._news.set()

    async def _stop(self, uid: str) -> None:
        self.machines[uid].power_off()
        task = self.tasks[uid]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del self.machines[uid], self.tasks[uid]

    def machine(self, slot: str, attempt: int) -> Machine | None:
        """Return the machine of a slot in an attempt, if it is there."""
        found = (m for m in self.machines.values() if m.config.slot == slot and m.config.attempt == attempt)
        return next(found, None)

    def power_off(self, node: str) -> None:
        """Switch a node off with everything on it, and delete its Node object as the cloud controller does."""
        self.nodes.remove(node)
        for uid, machine in self.machines.items():
            if machine.node == node:
                machine.power_off()
                self.tasks[uid].cancel()
        self.server.remove("nodes", "", node)

    def cut_off(self, node: str) -> None:
        """Cut a node from the API server. Its containers go on, and so do their calls to the bucket."""
        self.cut.add(node)
        condition = {"type": "Ready", "status": "Unknown", "lastTransitionTime": self.stamp()}
        self.server.merge("nodes", "", node, {"status": {"conditions": [condition]}}, status=True)

    def reconnect(self, node: str) -> None:
        self.cut.discard(node)
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": self.stamp()}
        self.server.merge("nodes", "", node, {"status": {"conditions": [condition]}}, status=True)
        for machine in self.machines.values():
            if machine.node == node:
                machine.tell_again()
        self._news.set()
