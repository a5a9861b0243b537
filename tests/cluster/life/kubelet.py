"""A simulated kubelet: it runs the real restore step and the real keeper in every pod, and a trainer of a few lines.

What a kubelet does that matters to the operator is here: containers in their order, termination messages, the sidecar
that ends after the trainer, deletion with its preStop flush, and a node that is switched off with everything on it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast.api import labels as names
from holdfast.api.wire import CONFIG_VARIABLE, Answer, Outcome, Progress, Report, SidecarConfig, encode
from holdfast.checkpoint.keeper import Keeper
from holdfast.checkpoint.restore import RestoreStep
from holdfast.seams import ObjectStore
from holdfast.sidecar.endpoint import Endpoint, ReportFailed
from holdfast.sidecar.environment import Environment
from holdfast.sidecar.reporter import Reporter, Sources
from holdfast.sidecar.running import Ears
from tests.support.apiserver import MemoryApiServer
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock

Document = dict[str, Any]

STEP_S = 1.0
EXITS = {"Restored": 0, "Superseded": 64, "PrefixTaken": 65, "NoRestorableCheckpoint": 66, "RestoreRefused": 67}


class Container:
    """The status of one container, as it goes into the pod's status."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Document = {"waiting": {"reason": "PodInitializing"}}

    def run(self, at: str) -> None:
        self.state = {"running": {"startedAt": at}}

    def end(self, code: int, at: str, message: str = "") -> None:
        self.state = {"terminated": {"exitCode": code, "finishedAt": at, "message": message, "reason": "Completed"}}


class Line(Endpoint):
    """The way from a pod to the operator, without a network: `hears` says whether somebody was there."""

    def __init__(self, hears: Callable[[Report], bool], spawner: SeededSpawner) -> None:
        super().__init__("http://operator", "", Path("/nowhere"), spawner)
        self._hears = hears

    async def post(self, report: Report, wait_s: float = 0.0) -> Answer:
        if not self._hears(report):
            raise ReportFailed("nobody leads")
        return Answer()


class Machine:
    """One pod on its node: its volume, its containers, and the task that lives its life."""

    def __init__(self, kubelet: Kubelet, pod: Document) -> None:
        self.kubelet = kubelet
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.node = kubelet.place(pod)
        self.volume = self._mounted(pod)
        self.volume.mkdir(parents=True, exist_ok=True)
        self.config = self._config(pod)
        self.containers = {n: Container(n) for n in (names.RESTORE_CONTAINER, names.SIDECAR_CONTAINER, names.TRAINER)}
        self.exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.gone = False
        self.step = 0

    def _mounted(self, pod: Document) -> Path:
        """Return what the pod sees as its volume: a directory of its own, or of its claim, which must be there."""
        root: Path = self.kubelet.directory
        volume = next(item for item in pod["spec"]["volumes"] if item["name"] == names.VOLUME)
        if "persistentVolumeClaim" not in volume:
            return root / str(self.uid)
        claim = volume["persistentVolumeClaim"]["claimName"]
        found = self.kubelet.server.find("persistentvolumeclaims", self.namespace, claim)
        assert found is not None, f"{self.name} was made before its claim {claim}"
        mounts = pod["spec"]["initContainers"][0]["volumeMounts"]
        path = next(item.get("subPath", "") for item in mounts if item["name"] == names.VOLUME)
        return root / str(found["metadata"]["uid"]) / str(path)

    def _config(self, pod: Document) -> SidecarConfig:
        env = pod["spec"]["initContainers"][0]["env"]
        text = next(item["value"] for item in env if item["name"] == CONFIG_VARIABLE)
        return msgspec.json.decode(text, type=SidecarConfig)

    async def live(self) -> None:
        """From the first container to the last."""
        kubelet = self.kubelet
        engine = (self.config, kubelet.store, kubelet.clock, kubelet.random, kubelet.spawner, self.volume)
        self._tell("Pending", bound=True)
        outcome = await RestoreStep(*engine).run()
        self.containers[names.RESTORE_CONTAINER].end(EXITS[outcome.kind], kubelet.stamp(), encode(outcome).decode())
        if outcome.kind != "Restored":
            self._tell("Failed")
            return
        keeper = Keeper(*engine)
        ears = Ears(keeper, kubelet.clock)
        reporting = kubelet.spawner.spawn(self._report(keeper, ears), name=f"reporter-{self.name}")
        self.containers[names.SIDECAR_CONTAINER].run(kubelet.stamp())
        self.containers[names.TRAINER].run(kubelet.stamp())
        self._tell("Running")
        ticking = kubelet.spawner.spawn(self._tick(keeper), name=f"keeper-{self.name}")
        trainer = kubelet.spawner.spawn(self._train(outcome.step or 0, ears), name=f"trainer-{self.name}")
        code = await self.exit
        trainer.cancel()
        ticking.cancel()
        reporting.cancel()
        await asyncio.gather(trainer, ticking, reporting, return_exceptions=True)
        self.containers[names.TRAINER].end(code, kubelet.stamp())
        self._tell("Running")
        last: Outcome = await keeper.finish(30)
        self.containers[names.SIDECAR_CONTAINER].end(0, kubelet.stamp(), encode(last).decode())
        self._tell("Succeeded" if code == 0 else "Failed")

    async def _tick(self, keeper: Keeper) -> None:
        while True:
            await keeper.tick()
            await self.kubelet.clock.sleep(1.0)

    async def _report(self, keeper: Keeper, ears: Ears) -> None:
        """Tell whoever hears, as the sidecar does."""
        hears = self.kubelet.hears
        if hears is None:
            return
        environment = Environment(self.config, self.name, self.uid, "", self.volume / "termination")
        sources = Sources(lambda: keeper.state, lambda: ears.progress, tuple, lambda _: None, ears.step_age_s)
        kubelet = self.kubelet
        endpoint = Line(hears, kubelet.spawner)
        await Reporter("Sidecar", environment, sources, endpoint, kubelet.clock, kubelet.random).run()

    async def _train(self, start: int, ears: Ears) -> None:
        """Count steps and write the counter with a marker, in lock step with the peers of the same attempt."""
        directory = self.volume / "data" / str(self.config.attempt)
        for step in range(start + 1, self.kubelet.total_steps + 1):
            self.step = step
            await self.kubelet.clock.sleep(STEP_S)
            ears.heard_progress(Progress(step=step, total=self.kubelet.total_steps))
            if step == self.kubelet.stalls_at.get(self.config.attempt):
                await asyncio.Event().wait()
            writes = self.config.layout == "PerHost" or self.config.slot == "0-0"
            if writes and self.step % self.config.every_steps == 0:
                try:
                    self._save(directory / str(self.step))
                except FileNotFoundError:
                    # A survivor of an older attempt, whose directory on the claim was cleared.
                    assert self.gone
                    return
        self.finish(0)

    def _save(self, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        (target / "counter").write_text(json.dumps({"step": self.step, "slot": self.config.slot}))
        (target / ".holdfast-complete").touch()

    def finish(self, code: int) -> None:
        """End the trainer; peers of a broken gang fail a moment later."""
        if not self.exit.done():
            self.exit.set_result(code)
            if code != 0:
                self.kubelet.spawner.spawn(self._break_peers(), name=f"break-{self.name}")

    async def _break_peers(self) -> None:
        await self.kubelet.clock.sleep(0.5)
        for peer in self.kubelet.machines.values():
            if peer.config.job_uid == self.config.job_uid and peer.config.attempt == self.config.attempt:
                peer.finish(75)

    def _tell(self, phase: str, *, bound: bool = False) -> None:
        server = self.kubelet.server
        found = server.find("pods", self.namespace, self.name)
        if self.gone or found is None or found["metadata"]["uid"] != self.uid:
            return
        listed = {c.name: {"name": c.name, "state": c.state} for c in self.containers.values()}
        trainer = listed.pop(names.TRAINER)
        status = {"phase": phase, "containerStatuses": [trainer], "initContainerStatuses": list(listed.values())}
        if bound:
            server.merge("pods", self.namespace, self.name, {"spec": {"nodeName": self.node}})
        server.merge("pods", self.namespace, self.name, {"status": status}, status=True)


class Kubelet:
    """All nodes at once: starts a machine for every new pod and ends those that are deleted."""

    def __init__(
        self,
        server: MemoryApiServer,
        store: ObjectStore,
        clock: VirtualClock,
        spawner: SeededSpawner,
        directory: Path,
        *,
        total_steps: int,
    ) -> None:
        self.server, self.store, self.clock, self.spawner = server, store, clock, spawner
        self.random = SeededRandom(3)
        self.directory = directory
        self.total_steps = total_steps
        self.nodes = ["n1", "n2", "n3"]
        self.machines: dict[str, Machine] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.hears: Callable[[Report], bool] | None = None
        self.stalls_at: dict[int, int] = {}
        self.observers: list[Callable[[list[Document]], None]] = []

    def stamp(self) -> str:
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def place(self, pod: Document) -> str:
        """Spread the hosts of a gang over the nodes that are left."""
        host = int(pod["metadata"]["labels"][names.HOST])
        return self.nodes[host % len(self.nodes)]

    async def run(self) -> None:
        while True:
            pods = self.server.all("pods")
            for observer in self.observers:
                observer(pods)
            for pod in pods:
                self._look(pod)
            present = {pod["metadata"]["uid"] for pod in pods}
            for uid in set(self.machines) - present:
                await self._stop(uid)
            await self.clock.sleep(0.2)

    def _look(self, pod: Document) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self.machines:
            machine = self.machines[uid] = Machine(self, pod)
            self.tasks[uid] = self.spawner.spawn(machine.live(), name=f"pod-{machine.name}")
        elif pod["metadata"].get("deletionTimestamp") and self.machines[uid].node in self.nodes:
            machine = self.machines[uid]
            if self.tasks[uid].done() or machine.containers[names.TRAINER].state.get("waiting"):
                self.server.remove("pods", machine.namespace, machine.name)
            else:
                machine.finish(143)

    async def _stop(self, uid: str) -> None:
        self.machines[uid].gone = True
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
                machine.gone = True
                self.tasks[uid].cancel()
        self.server.remove("nodes", "", node)
