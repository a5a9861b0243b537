"""A whole cluster in memory, from a seed: API server, bucket, nodes with their pods, two replicas of the operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from holdfast.api.wire import Report
from holdfast.app.operator import Replica
from holdfast.app.settings import OperatorSettings
from tests.cluster.life.kubelet import Kubelet
from tests.support.apiserver import MemoryApiServer
from tests.support.bucket import Bucket, MemoryStore
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until

Document = dict[str, Any]

NAMESPACE, NAME = "team", "digits"
TOTAL_STEPS, EVERY_STEPS = 30, 5


class World:
    """Everything that one life of a job happens in. The promises are checked at every look of the kubelet."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.clock = VirtualClock()
        self.spawner = SeededSpawner(seed)
        self.server = MemoryApiServer(self.clock, self.spawner, seed=seed, collect_after_s=1.0)
        self.bucket = Bucket()
        self.kubelet = Kubelet(
            self.server, MemoryStore(self.bucket), self.clock, self.spawner, directory, total_steps=TOTAL_STEPS
        )
        self.kubelet.observers.append(self._check)
        self.seed = seed
        self.replicas: list[tuple[Replica, SeededSpawner]] = []
        self.committed: dict[tuple[str, str], int] = {}
        self._born = 0

    async def start(self) -> None:
        """Bring up nodes and two replicas."""
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        for node in self.kubelet.nodes:
            self.server.put("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "status": ready})
        self.spawner.spawn(self.kubelet.run(), name="kubelet")
        await self.add_replica()
        await self.add_replica()

    async def add_replica(self) -> None:
        """Start one more process of the operator."""
        self._born += 1
        settings = OperatorSettings(
            namespace="holdfast-system",
            pod_name=f"operator-{self._born}",
            pod_ip=f"10.0.0.{self._born}",
            sidecar_image="holdfast:test",
        )
        spawner = SeededSpawner(self.seed * 100 + self._born)
        replica = Replica(settings, self.server, self.clock, SeededRandom(self._born), spawner)
        await replica.start(serve=False)
        self.replicas.append((replica, spawner))

    async def kill_leader(self) -> None:
        """SIGKILL: everything of the leading process stops between two turns of the loop; a new one starts."""
        for index, (replica, spawner) in enumerate(self.replicas):
            if replica.elector.leading:
                del self.replicas[index]
                await spawner.stop()
                await self.add_replica()
                return

    def hear(self) -> None:
        """Let the pods report to whoever leads."""

        def put(report: Report) -> bool:
            for replica, _ in self.replicas:
                if replica.elector.leading:
                    replica.inbox.put(report)
                    return True
            return False

        self.kubelet.hears = put

    async def stop(self) -> None:
        for _, spawner in self.replicas:
            await spawner.stop()
        await self.spawner.stop()

    def apply(self, **spec: Any) -> None:
        """Create the job as a user would, with the defaults that the CRD would fill in."""
        base: Document = {
            "accelerator": {"cpu": {"workers": 2}},
            "runtime": {"framework": "JAX"},
            "template": {
                "spec": {
                    "securityContext": {"runAsUser": 1000},
                    "containers": [{"name": "trainer", "image": "trainer"}],
                }
            },
            "checkpoint": {"destination": "gs://bucket/run", "cadence": {"everySteps": EVERY_STEPS}},
        }
        self.server.put(
            "trainingjobs",
            {
                "apiVersion": "holdfast.dev/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "spec": {**base, **spec},
            },
        )

    def status(self) -> Document:
        job = self.server.find("trainingjobs", NAMESPACE, NAME)
        return dict(job.get("status") or {}) if job else {}

    def patch(self, **spec: Any) -> None:
        self.server.merge("trainingjobs", NAMESPACE, NAME, {"spec": spec})

    async def until_phase(self, phase: str, *, limit_s: float = 900) -> None:
        await run_until(self.clock, lambda: self.status().get("phase") == phase, limit_s=limit_s)

    async def until_step(self, step: int, *, limit_s: float = 900) -> None:
        """Wait until some trainer of the newest attempt has reached a step (or the job is done already)."""

        def reached() -> bool:
            machines = self.kubelet.machines.values()
            newest = max((m.config.attempt for m in machines), default=0)
            return any(m.step >= step and m.config.attempt == newest for m in machines)

        await run_until(self.clock, lambda: reached() or self.status().get("phase") == "Succeeded", limit_s=limit_s)

    def commits(self) -> dict[tuple[str, str], Document]:
        """Return every commit manifest by (run, step), as it is in the bucket now."""
        found = {}
        for name in self.bucket.names("runs/", "/commit.json"):
            parts = name.split("/")
            found[(parts[1], parts[3])] = json.loads(self.bucket.read(name, None).data)
        return found

    def _check(self, pods: list[Document]) -> None:
        """At most one pod object a slot and attempt; an older attempt's pods are gone before new ones exist."""
        labels = [pod["metadata"]["labels"] for pod in pods]
        places = [(item["holdfast.dev/host"], item["holdfast.dev/attempt"]) for item in labels]
        assert len(places) == len(set(places)), f"two pods of one slot and attempt: {places}"
        attempts = {item["holdfast.dev/attempt"] for item in labels}
        assert len(attempts) <= 1, f"pods of several attempts at once: {attempts}"
