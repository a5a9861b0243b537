"""One simulated pod: the real restore step and the real sidecar as processes, and a trainer of a few lines."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from holdfast.api import labels as names
from holdfast.api.wire import CA_VARIABLE, CONFIG_VARIABLE, POD_NAME_VARIABLE, POD_UID_VARIABLE, Progress, SidecarConfig
from holdfast.checkpoint.errors import NotRestored
from holdfast.checkpoint.keeper import Keeper
from holdfast.seams import Clock, ObjectStore
from holdfast.sidecar import environment, restoring, running
from holdfast.sidecar.environment import TERMINATION_VARIABLE, Environment
from holdfast.sidecar.life import Seams
from holdfast.sidecar.running import Ears
from tests.cluster.life.process import Process, ProcessStore

if TYPE_CHECKING:
    from tests.cluster.life.kubelet import Kubelet

Document = dict[str, Any]
Entry = Callable[[Environment, ObjectStore, Seams, asyncio.Event], Awaitable[int]]

STEP_S = 1.0
SIGKILLED = 137


@dataclass(frozen=True)
class Killed:
    """A container that was killed. `late`: the trainer had ended. `words`: what its termination log said by then."""

    container: str
    slot: str
    attempt: int
    late: bool
    words: str


class KnownEars(Ears):
    """The sidecar's ears, found by its volume: a trainer of a simulation needs no socket to speak into them."""

    of: ClassVar[dict[tuple[Path, str], Ears]] = {}

    def __init__(self, keeper: Keeper, clock: Clock) -> None:
        super().__init__(keeper, clock)
        self.of[(keeper._volume.root, keeper._config.slot)] = self


class Container:
    """The status of one container, as it goes into the pod's status."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Document = {"waiting": {"reason": "PodInitializing"}}
        self.restarts = 0
        self.last: Document = {}

    def run(self, at: str) -> None:
        self.state = {"running": {"startedAt": at}}

    def end(self, code: int, at: str, message: str = "") -> None:
        reason = "Completed" if code == 0 else "Error"
        self.state = {"terminated": {"exitCode": code, "finishedAt": at, "message": message, "reason": reason}}

    def wait_again(self) -> None:
        self.last, self.restarts = self.state, self.restarts + 1
        self.state = {"waiting": {"reason": "CrashLoopBackOff"}}

    def status(self) -> Document:
        return {"name": self.name, "state": self.state, "lastState": self.last, "restartCount": self.restarts}


class Machine:
    """One pod on its node: its volume, its containers, and the task that lives its life."""

    def __init__(self, kubelet: Kubelet, pod: Document) -> None:
        self.kubelet = kubelet
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.node = kubelet.place(pod)
        self.folder = kubelet.directory / self.uid[-12:]
        self.volume = self._mounted(pod)
        self.volume.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        self.environment = self._environment(pod)
        self.config: SidecarConfig = self.environment.config
        self.containers = {n: Container(n) for n in (names.RESTORE_CONTAINER, names.SIDECAR_CONTAINER, names.TRAINER)}
        self.exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.process: Process | None = None
        self.gone = False
        self.phase = ""
        self.stopping = False
        self.step = 0
        self._term = asyncio.Event()

    def _mounted(self, pod: Document) -> Path:
        """Return what the pod sees as its volume: a directory of its own, or of its claim, which must be there."""
        volume = next(item for item in pod["spec"]["volumes"] if item["name"] == names.VOLUME)
        own: Path = self.folder / "volume"
        if "persistentVolumeClaim" not in volume:
            return own
        claim = volume["persistentVolumeClaim"]["claimName"]
        found = self.kubelet.server.find("persistentvolumeclaims", self.namespace, claim)
        assert found is not None, f"{self.name} was made before its claim {claim}"
        mounts = pod["spec"]["initContainers"][0]["volumeMounts"]
        path = next(item.get("subPath", "") for item in mounts if item["name"] == names.VOLUME)
        root: Path = self.kubelet.directory
        return root / str(found["metadata"]["uid"]) / str(path)

    def _environment(self, pod: Document) -> Environment:
        listed = {item["name"]: item.get("value", "") for item in pod["spec"]["initContainers"][0]["env"]}
        log = self.folder / "termination-log"
        read = environment.read(
            {
                CONFIG_VARIABLE: listed[CONFIG_VARIABLE],
                CA_VARIABLE: listed.get(CA_VARIABLE, ""),
                POD_NAME_VARIABLE: self.name,
                POD_UID_VARIABLE: self.uid,
                TERMINATION_VARIABLE: str(log),
            }
        )
        here = {"volume_root": str(self.volume), "run_directory": str(self.folder / "run")}
        return Environment(msgspec.structs.replace(read.config, **here), self.name, self.uid, read.ca_pem, log)

    async def live(self) -> None:
        """From the first container to the last."""
        kubelet = self.kubelet
        self._tell("Pending", bound=True)
        restore = self.containers[names.RESTORE_CONTAINER]
        code = await self._run(restore, restoring.restore, "restore")
        if code != 0:
            # restartPolicy Never: an init container that fails makes the pod fail.
            self._tell("Failed")
            return
        self.containers[names.TRAINER].run(kubelet.stamp())
        sidecar = kubelet.spawner.spawn(self._keep_sidecar(), name=f"sidecar-{self.name}")
        trainer = kubelet.spawner.spawn(self._train(), name=f"trainer-{self.name}")
        try:
            code = await self.exit
            trainer.cancel()
            self.stopping = True
            self.containers[names.TRAINER].end(code, kubelet.stamp())
            self._tell("Running")
            self._term.set()
            await sidecar
        finally:
            trainer.cancel()
            sidecar.cancel()
            await asyncio.gather(trainer, sidecar, return_exceptions=True)
        self._tell("Succeeded" if code == 0 else "Failed")

    async def _keep_sidecar(self) -> None:
        """A native sidecar: started again whenever it ends, but not once the trainer has ended."""
        container = self.containers[names.SIDECAR_CONTAINER]
        while True:
            code = await self._run(container, running.run, "sidecar")
            if self.stopping:
                return
            assert code == SIGKILLED, f"the sidecar of {self.name} ended by itself with {code}"
            container.wait_again()
            self._tell("Running")
            await self.kubelet.clock.sleep(1.0)
            if self.stopping:
                # What is down when the pod's end begins is not started any more.
                container.state = container.last
                return

    async def _run(self, container: Container, entry: Entry, what: str) -> int:
        """Run one container to its end and return its exit code."""
        kubelet = self.kubelet
        self.environment.termination_log.unlink(missing_ok=True)
        process = self.process = kubelet.process(f"{what}-{self.config.slot}-{self.config.attempt}")
        store = ProcessStore(kubelet.bucket, process, kubelet.fuse, kubelet.bucket_faults)
        seams = Seams(kubelet.clock, kubelet.random, process.spawner)
        container.run(kubelet.stamp())
        if what == "sidecar":
            self._tell("Running")
        work = process.spawner.spawn(_ended(entry(self.environment, store, seams, self._term)), name=process.name)
        try:
            await asyncio.wait({work})
        finally:
            process.kill()
        code = SIGKILLED if work.cancelled() else work.result()
        log = self.environment.termination_log
        words = log.read_text() if log.exists() else ""
        container.end(code, kubelet.stamp(), words)
        if code == SIGKILLED:
            kubelet.killed.append(Killed(what, self.config.slot, self.config.attempt, self.stopping, words))
        return code

    async def _train(self) -> None:
        """Count steps, and write the counter with a marker, in lock step with the peers of the same attempt."""
        directory = self.volume / "data" / str(self.config.attempt)
        told = self.environment.restored_step.read_text()
        self.step = start = int(told or 0)
        writer = self.config.slot if self.config.layout == "PerHost" else "0-0"
        if told:
            held = json.loads((directory / told / "counter").read_text())
            assert held == {"step": start, "slot": writer}, f"{self.name} was given {held} for step {told}"
        newer = [path.name for path in directory.iterdir() if int(path.name) > start]
        # On a shared directory the writer may have gone on before the others look.
        assert not newer or writer != self.config.slot, f"{self.name} starts from {start} and finds {newer}"
        # Out of step with the looks of the sidecar: what is complete waits for a moment until it is seen.
        await self.kubelet.clock.sleep(0.35)
        for step in range(start + 1, self.kubelet.total_steps + 1):
            await self.kubelet.clock.sleep(STEP_S)
            self.step = step
            if self.kubelet.talks and (ears := KnownEars.of.get((self.volume, self.config.slot))) is not None:
                ears.heard_progress(Progress(step=step, total=self.kubelet.total_steps))
            if step == self.kubelet.stalls_at.get(self.config.attempt):
                await asyncio.Event().wait()
            if step % self.config.every_steps == 0 and writer == self.config.slot:
                try:
                    self._save(directory / str(step))
                except FileNotFoundError:
                    # A survivor of an older attempt, whose directory on the claim was cleared.
                    assert self.gone
                    return
        self.finish(0)

    def _save(self, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        (target / "counter").write_text(json.dumps({"step": int(target.name), "slot": self.config.slot}))
        (target / ".holdfast-complete").touch()

    def delete(self) -> None:
        """SIGTERM to everything, as the kubelet does when the pod is deleted."""
        if self.containers[names.TRAINER].state.get("waiting"):
            self._term.set()
        self.finish(143)

    def finish(self, code: int) -> None:
        """End the trainer; peers of a broken gang fail a moment later."""
        if not self.exit.done():
            self.exit.set_result(code)
            if code != 0:
                self.kubelet.spawner.spawn(self._break_peers(), name=f"break-{self.name}")

    def power_off(self) -> None:
        """Nothing of it runs any more, and nobody says so."""
        self.gone = True
        if self.process is not None:
            self.process.kill()

    async def _break_peers(self) -> None:
        await self.kubelet.clock.sleep(0.5)
        for peer in self.kubelet.machines.values():
            same = (peer.config.job_uid, peer.config.attempt) == (self.config.job_uid, self.config.attempt)
            if same and peer.containers[names.TRAINER].state.get("running"):
                peer.finish(75)

    def tell_again(self) -> None:
        """Tell the API server what could not be told while the node was cut off."""
        if self.phase:
            self._tell(self.phase, bound=True)

    def _tell(self, phase: str, *, bound: bool = False) -> None:
        self.phase = phase
        server = self.kubelet.server
        found = server.find("pods", self.namespace, self.name)
        if self.gone or self.node in self.kubelet.cut or found is None or found["metadata"]["uid"] != self.uid:
            return
        listed = {name: container.status() for name, container in self.containers.items()}
        trainer = listed.pop(names.TRAINER)
        status = {"phase": phase, "containerStatuses": [trainer], "initContainerStatuses": list(listed.values())}
        if bound:
            server.merge("pods", self.namespace, self.name, {"spec": {"nodeName": self.node}})
        server.merge("pods", self.namespace, self.name, {"status": status}, status=True)


async def _ended(work: Awaitable[int]) -> int:
    """Turn the ways in which a process ends into an exit code, as its `main` does."""
    try:
        return await work
    except NotRestored:
        return 2
