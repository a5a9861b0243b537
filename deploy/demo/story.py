"""The demo's story: train, kill a worker, power a node off, and come out with the result of a calm run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from deploy.demo import machines, proof
from deploy.demo.job import Job
from deploy.demo.lab import REPLY_S, Lab
from deploy.demo.screen import Screen
from deploy.demo.watch import Look, look
from deploy.kind import faults
from deploy.kind.console import Problem

NAMESPACE = "holdfast-demo"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits" / "job.yaml"

_LIMIT_S = 600.0
_PAUSE_S = 1.0


class Story:
    """Two runs of the same job: one that is left alone, one that is not."""

    def __init__(self, lab: Lab, screen: Screen) -> None:
        self._lab = lab
        self._screen = screen
        self._ends = time.monotonic() + _LIMIT_S
        self._run = f"demo-{int(time.time())}"
        self._jobs: list[Job] = []
        self._looks: dict[str, Look] = {}

    def run(self) -> list[str]:
        """Play it. Returns the proof; raises `Problem` when a promise was broken or time ran out."""
        self._clear()
        calm = self._create("digits-calm")
        disturbed = self._create("digits")
        worker_killed = self._disaster(disturbed, "a worker killed with SIGKILL", after=150, harm=self._kill_worker)
        self._screen.tell("the undisturbed run is left to end before a node goes")
        self._until(lambda: self._looks[calm.name].done)
        # Read now: the node that goes takes the logs of its pods along.
        expected = proof.final(calm)
        node_lost = self._disaster(
            disturbed, "a node powered off", after=worker_killed.at_step + 1, harm=self._power_off
        )
        self._screen.tell("waiting for the end")
        self._until(lambda: self._looks[disturbed.name].done)
        for job in (calm, disturbed):
            if self._looks[job.name].phase != "Succeeded":
                raise Problem(f"{job.name} ended as {self._looks[job.name].phase}: {job.status().get('message', '')}")
        result = proof.final(disturbed)
        disasters = [worker_killed, node_lost]
        proof.check(expected, result, disasters, disturbed.status())
        return list(proof.lines(disturbed, expected, result, disasters))

    def _clear(self) -> None:
        """Remove what an earlier demo left."""
        names = [item.metadata.name for item in self._lab.core.list_namespace(_request_timeout=REPLY_S).items]
        if NAMESPACE in names:
            self._lab.core.delete_namespace(NAMESPACE, _request_timeout=REPLY_S)
            self._wait("the former demo's namespace goes", lambda: NAMESPACE not in self._namespaces())
        self._lab.core.create_namespace({"metadata": {"name": NAMESPACE}}, _request_timeout=REPLY_S)

    def _namespaces(self) -> list[str]:
        return [item.metadata.name for item in self._lab.core.list_namespace(_request_timeout=REPLY_S).items]

    def _create(self, name: str) -> Job:
        """Apply the example under a name and a prefix of its own: an old prefix would be gone on from."""
        manifest: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
        manifest["metadata"]["name"] = name
        manifest["spec"]["checkpoint"]["destination"] = f"gs://{self._lab.bucket.name}/{self._run}/{name}"
        spread = manifest["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
        spread["labelSelector"]["matchLabels"]["holdfast.dev/job-name"] = name
        job = Job.create(self._lab, NAMESPACE, manifest)
        self._jobs.append(job)
        self._screen.tell(f"kubectl apply: TrainingJob {NAMESPACE}/{name}")
        return job

    def _disaster(self, job: Job, what: str, *, after: int, harm: Callable[[Job], str]) -> proof.Disaster:
        """Wait for a commit and a step, do the harm, and wait until the job has made good what it lost."""
        self._until(lambda: self._looks[job.name].committed > 0 and self._looks[job.name].step >= after)
        before = self._looks[job.name]
        if before.done:
            raise Problem(
                f"{job.name} was over before {what}: the machine is too fast for STEPS, raise it in {EXAMPLE}"
            )
        began = time.monotonic()
        self._screen.tell(f"{what}: {harm(job)}")
        self._until(lambda: self._looks[job.name].attempt > before.attempt)
        self._until(lambda: self._looks[job.name].step >= before.step or self._looks[job.name].done)
        lost_s = time.monotonic() - began
        attempt = self._looks[job.name].attempt
        self._until(lambda: self._row(job, attempt).get("restoredStep") is not None or self._looks[job.name].done)
        resumed = int(self._row(job, attempt).get("restoredStep") or 0)
        self._screen.tell(f"{job.name} is back at step {before.step} in attempt {attempt}, resumed from {resumed}")
        return proof.Disaster(what, before.step, before.committed, resumed, lost_s)

    def _row(self, job: Job, attempt: int) -> dict[str, Any]:
        rows: list[dict[str, Any]] = job.status().get("attempts") or []
        return next((row for row in rows if row["attempt"] == attempt), {})

    def _kill_worker(self, job: Job) -> str:
        victim = job.current_pods()[-1]
        machines.sigkill(self._lab.kube, victim, "trainer")
        return f"pod {victim.metadata.name} on {victim.spec.node_name}"

    def _power_off(self, job: Job) -> str:
        node = str(job.current_pods()[-1].spec.node_name)
        faults.power_off(self._lab.kube, self._lab.workers().index(node) + 1)
        return node

    def _until(self, done: Callable[[], bool]) -> None:
        """Look at the jobs until `done`; a job that has failed ends the story at once."""
        while True:
            for job in self._jobs:
                self._looks[job.name] = look(job, self._looks.get(job.name))
            self._screen.show(list(self._looks.values()))
            if done():
                return
            failed = next((one for one in self._looks.values() if one.phase == "Failed"), None)
            if failed is not None:
                raise Problem(f"{failed.name} has failed: {failed.reason}")
            self._wait_a_little("the demo")

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        while not done():
            self._wait_a_little(what)

    def _wait_a_little(self, what: str) -> None:
        if time.monotonic() > self._ends:
            raise Problem(
                f"{what} took longer than {_LIMIT_S:.0f} s: make cluster-status, kubectl -n {NAMESPACE} get pods"
            )
        time.sleep(_PAUSE_S)


def bring_nodes_back(lab: Lab) -> None:
    """Power every worker on that is off."""
    running = lab.kube.running()
    for number, node in enumerate(lab.workers(), start=1):
        if node not in running:
            faults.bring_back(lab.kube, number)
