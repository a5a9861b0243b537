"""A whole cluster in memory, from a seed: API server, bucket, nodes with their pods, replicas of the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from holdfast.app.operator import Replica
from holdfast.app.settings import OperatorSettings
from holdfast.checkpoint.manifests import Commit
from holdfast.cluster.client import LeadershipLost
from tests.cluster.life.kubelet import Kubelet
from tests.cluster.life.machine import KnownEars
from tests.cluster.life.process import Fuse, Process, ProcessTransport, Reports
from tests.cluster.life.promises import Promises, WatchedBucket
from tests.support.apiserver import MemoryApiServer
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until

Document = dict[str, Any]

NAMESPACE, NAME = "team", "digits"
TOTAL_STEPS, EVERY_STEPS = 30, 5
REBIRTH_S = 1.0


class World:
    """Everything that one life of a job happens in. `fuse` counts what the first replica asks of the API server."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        *,
        total_steps: int = TOTAL_STEPS,
        every_steps: int = EVERY_STEPS,
        replicas: int = 2,
    ) -> None:
        self.seed, self.total_steps, self.every_steps = seed, total_steps, every_steps
        self.clock = VirtualClock()
        self.spawner = SeededSpawner(seed)
        self.server = MemoryApiServer(self.clock, self.spawner, seed=seed, collect_after_s=1.0)
        self.server.documents["/openid/v1/jwks"] = b'{"keys": []}'
        self.bucket = WatchedBucket()
        self.promises = Promises(self.server, self.bucket)
        self.kubelet = Kubelet(
            self.server, self.bucket, self.clock, self.spawner, directory, total_steps=total_steps, seed=seed
        )
        self.fuse = Fuse()
        self.fuses: dict[str, Fuse] = {}
        self.reports = Reports(self.promises.heard)
        self.reports.replicas = lambda: self.replicas
        self._patches = (
            patch("holdfast.sidecar.life.Endpoint", self.reports.endpoint),
            patch("holdfast.sidecar.running.Ears", KnownEars),
        )
        self.replicas: list[tuple[Replica, Process]] = []
        self.transports: dict[str, ProcessTransport] = {}
        self.wanted = replicas
        self.reborn = True
        self._born = 0

    async def start(self) -> None:
        """Bring up nodes and replicas."""
        for item in self._patches:
            item.start()
        for node in self.kubelet.nodes:
            self._put_node(node)
        self.spawner.spawn(self.kubelet.run(), name="kubelet")
        for _ in range(self.wanted):
            await self.add_replica()

    def add_node(self, name: str) -> None:
        """Bring up one more node."""
        self._put_node(name)
        self.kubelet.nodes.append(name)

    def _put_node(self, name: str) -> None:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.server.put("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": ready})

    async def add_replica(self) -> Replica:
        """Start one more process of the operator. A single replica is a container that starts again in its pod."""
        self._born += 1
        number = self._born if self.wanted > 1 else 1
        settings = OperatorSettings(
            namespace="holdfast-system",
            pod_name=f"operator-{number}",
            pod_ip=f"10.0.0.{number}",
            sidecar_image="holdfast:test",
            report_service="holdfast",
        )
        process = Process(f"operator-{self._born}", self.seed * 100 + self._born, self.spawner, self._replica_died)
        fuse = self.fuses[process.name] = self.fuse if self._born == 1 else Fuse()
        transport = ProcessTransport(self.server, process, fuse)
        replica = Replica(settings, transport, self.clock, SeededRandom(self._born), process.spawner)
        self.replicas.append((replica, process))
        self.transports[process.name] = transport
        await replica.start(serve=False)
        return replica

    def leader(self) -> tuple[Replica, Process] | None:
        return next((item for item in self.replicas if item[0].elector.leading), None)

    def believe(self, replica: Replica, process: Process, seconds: float) -> None:
        """Let a replica believe for a while that it leads, whatever the lease says."""
        end = self.clock.monotonic() + seconds
        transport = self.transports[process.name]

        async def insist() -> None:
            transport.deceived = True
            while self.clock.monotonic() < end:
                replica.elector._deadline = self.clock.monotonic() + 1.0
                replica.elector._tell()
                await self.clock.sleep(0.5)
            transport.deceived = False

        process.spawner.spawn(insist(), name="believe")

    def died_of(self) -> list[tuple[str, BaseException]]:
        """Return what tasks died of that should not have."""
        operators = [item for _, process in self.replicas for item in process.spawner.failures]
        # A pass that ends because the lease is gone ends its requests in the same way.
        operators = [item for item in operators if not isinstance(item[1], LeadershipLost)]
        return [*self.kubelet.died_of(), *self.spawner.failures, *operators]

    def check_whole(self) -> None:
        """Raise AssertionError unless the job's last step is committed by both workers, and no promise was broken."""
        self.promises.check()
        self.promises.whole()
        died = self.died_of()
        assert not died, died
        commits = self.commits()
        newest = max(commits)
        assert newest[1] == self.total_steps, f"the newest commit is {newest}"
        assert len(commits[newest].parts) == 2
        chain = [key for key in sorted(commits) if key not in self.promises.orphans]
        steps = [step for _, step in chain]
        assert steps == sorted(steps), f"a later run fell behind an older one: {chain}"
        numbers = [row["attempt"] for row in self.status()["attempts"]]
        assert numbers == sorted(set(numbers)), f"attempts are not counted upwards: {numbers}"
        assert "" not in self.causes(), self.status()["attempts"]

    async def kill_leader(self) -> None:
        """SIGKILL: everything of the leading process stops between two turns of the loop; a new one starts."""
        if (found := self.leader()) is not None:
            found[1].kill()

    def _replica_died(self) -> None:
        self.replicas = [item for item in self.replicas if item[1].alive]
        if self.reborn:
            self.spawner.spawn(self._bear(), name="rebirth")

    async def _bear(self) -> None:
        await self.clock.sleep(REBIRTH_S)
        await self.add_replica()

    def hear(self) -> None:
        """Let the trainers tell their steps."""
        self.kubelet.talks = True

    async def stop(self) -> None:
        for item in self._patches:
            item.stop()
        KnownEars.of.clear()
        self.reborn = False
        for _, process in self.replicas:
            await process.spawner.stop()
        await self.spawner.stop()
        for machine in self.kubelet.machines.values():
            if machine.process is not None:
                await machine.process.spawner.stop()

    def apply(self, **spec: Any) -> None:
        """Create the job as a user would, with the defaults that the CRD would fill in."""
        self.server.put(
            "trainingjobs",
            {
                "apiVersion": "holdfast.dev/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": spec.pop("name", NAME), "namespace": NAMESPACE},
                "spec": {**self._spec(), **spec},
            },
        )

    def _spec(self) -> Document:
        return {
            "accelerator": {"cpu": {"workers": 2}},
            "runtime": {"framework": "JAX"},
            "template": {
                "spec": {
                    "securityContext": {"runAsUser": 1000},
                    "containers": [{"name": "trainer", "image": "trainer"}],
                }
            },
            "checkpoint": self.checkpoint(),
        }

    def checkpoint(self, **fields: Any) -> Document:
        """Return `spec.checkpoint`."""
        plain: Document = {"destination": "gs://bucket/run", "cadence": {"everySteps": self.every_steps}}
        return {**plain, "retention": {"keepLast": 2}, **fields}

    def delete(self, name: str = NAME) -> None:
        """Delete the job as a user would."""
        self.server.store.delete(self.server.info("trainingjobs"), NAMESPACE, name, uid=None, grace_s=None)

    def job(self, name: str = NAME) -> Document | None:
        return self.server.find("trainingjobs", NAMESPACE, name)

    def status(self, name: str = NAME) -> Document:
        job = self.job(name)
        return dict(job.get("status") or {}) if job else {}

    def causes(self, name: str = NAME) -> list[str]:
        return [row.get("cause", "") for row in self.status(name).get("attempts") or []]

    def set_status(self, status: Document, name: str = NAME) -> None:
        """Replace the job's status, as a restored backup of the cluster would."""
        info = self.server.info("trainingjobs")
        before = self.server.store.get(info, NAMESPACE, name)
        self.server.store.update(info, before, {**before, "status": status}, status=True)

    def patch(self, **spec: Any) -> None:
        self.server.merge("trainingjobs", NAMESPACE, NAME, {"spec": spec})

    async def until_phase(self, phase: str, *, limit_s: float = 900, name: str = NAME) -> None:
        await run_until(self.clock, lambda: self.status(name).get("phase") == phase, limit_s=limit_s)

    async def until_step(self, step: int, *, limit_s: float = 900) -> None:
        """Wait until some trainer of the newest attempt has reached a step (or the job is done already)."""

        def reached() -> bool:
            machines = self.kubelet.machines.values()
            newest = max((m.config.attempt for m in machines), default=0)
            return any(m.step >= step and m.config.attempt == newest for m in machines)

        await run_until(self.clock, lambda: reached() or self.status().get("phase") == "Succeeded", limit_s=limit_s)

    def commits(self) -> dict[tuple[int, int], Commit]:
        """Return every commit manifest by (run, step), as it is in the bucket now."""
        return self.promises.commits()
