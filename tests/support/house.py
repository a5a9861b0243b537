"""A whole replica on the API server in memory, with a planner of a few lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from holdfast.api import labels
from holdfast.api.wire import Command
from holdfast.app.kinds import Registration
from holdfast.app.operator import Replica
from holdfast.app.settings import OperatorSettings
from holdfast.planning.observed import Observed
from holdfast.planning.plan import PODS, TRAINING_JOBS, Action, Create, Delete, DryRun, EventNote, Plan, StatusWrite
from tests.support.apiserver import MemoryApiServer
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until

Document = dict[str, Any]
WORKERS = 4


class TwoPods:
    """Wants two pods for every job and says how many it sees. Remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Observed] = []
        self.ask = False
        self.order: tuple[Command, ...] = ()
        self.requeue_after_s: float | None = None
        self.idle = False
        self.blind = False
        self.replaces = False

    def plan(self, observed: Observed, now: datetime) -> Plan:
        self.shown.append(observed)
        job = observed.object
        if job is None:
            return Plan()
        if job.spec.get("broken"):
            raise ZeroDivisionError("a bug in a planner")
        wanted = {f"{observed.name}-{number}" for number in range(2)}
        there = set() if self.blind else {pod.metadata.name for pod in observed.pods}
        missing = [] if self.idle else sorted(wanted - there)
        actions: list[Action] = [Create(PODS, self.pod(observed, name)) for name in missing]
        if self.replaces:
            foreign = [pod.metadata for pod in observed.pods if pod.metadata.controller_uid != job.metadata.uid]
            actions = [Delete(PODS, meta.namespace, meta.name, meta.uid) for meta in foreign]
        status = {"seen": len(observed.pods), "refused": len(observed.refusals)}
        status["deleting"] = sum(pod.deleting for pod in observed.pods)
        dry_run = DryRun(PODS, self.pod(observed, "probe"), "1") if self.ask and observed.dry_run is None else None
        return Plan(
            dry_run=dry_run,
            actions=tuple(actions),
            status=StatusWrite(
                TRAINING_JOBS, observed.namespace, observed.name, job.metadata.resource_version, job.status, status
            ),
            commands={pod.metadata.uid: self.order for pod in observed.pods if self.order},
            events=(EventNote("Normal", "Seen", f"{len(observed.pods)} pods"),),
            waiting="pods" if missing else "",
            requeue_after_s=self.requeue_after_s,
        )

    @classmethod
    def pod(cls, observed: Observed, name: str) -> Document:
        assert observed.object is not None
        return cls.pod_of(observed.namespace, observed.name, observed.object.metadata.uid, name)

    @staticmethod
    def pod_of(namespace: str, job: str, uid: str, name: str) -> Document:
        owner = {"kind": "TrainingJob", "name": job, "uid": uid, "controller": True}
        marks = {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.JOB_NAME: job}
        metadata = {"name": name, "namespace": namespace, "labels": marks, "ownerReferences": [owner]}
        return {"metadata": metadata, "spec": {}}


class House:
    """An API server and replicas that share a planner."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.server = MemoryApiServer(self.clock, SeededSpawner(), any_shape=True)
        self.planner = TwoPods()
        self.power: list[SeededSpawner] = []

    async def start(self, name: str = "op-0") -> Replica:
        spawner = SeededSpawner(len(self.power))
        self.power.append(spawner)
        settings = OperatorSettings(
            namespace="system", pod_name=name, pod_ip="10.0.0.1", sidecar_image="image", workers=WORKERS
        )
        registrations = (Registration(TRAINING_JOBS, labels.JOB_NAME, self.planner.plan),)
        replica = Replica(settings, self.server, self.clock, SeededRandom(1), spawner, registrations=registrations)
        await replica.start(serve=False)
        return replica

    def job(self, name: str = "j", **spec: object) -> Document:
        return self.server.put("trainingjobs", {"metadata": {"name": name, "namespace": "ns"}, "spec": spec})

    def status(self, name: str = "j") -> Document:
        found = self.server.find("trainingjobs", "ns", name)
        return found.get("status", {}) if found else {}

    async def until(self, **wanted: object) -> float:
        name = str(wanted.pop("name", "j"))
        return await run_until(
            self.clock, lambda: all(self.status(name).get(key) == value for key, value in wanted.items()), limit_s=120
        )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    for power in made.power:
        await power.stop()
        assert not power.failures
