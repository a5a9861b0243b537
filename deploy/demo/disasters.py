"""What the demo does to the run, and what each disaster has cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from deploy.demo import machines
from deploy.demo.job import Job
from deploy.demo.snapshot import Snapshot
from deploy.kind import faults


@dataclass
class Disaster:
    """One disaster. Times are monotonic seconds; ``step`` is the last one that a trainer had printed before it."""

    what: str
    attempt: int
    step: int
    at: float
    runs_again_at: float | None = None
    caught_up_at: float | None = None

    def watch(self, seen: Snapshot) -> None:
        """Take note of the way back."""
        if seen.attempt <= self.attempt or seen.step is None:
            return
        now = time.monotonic()
        self.runs_again_at = self.runs_again_at or now
        if self.caught_up_at is None and seen.step >= self.step:
            self.caught_up_at = now

    @property
    def over(self) -> bool:
        """Whether the run is where it was before."""
        return self.caught_up_at is not None

    @property
    def seconds_lost(self) -> float | None:
        """From the disaster until the run was where it had been."""
        return None if self.caught_up_at is None else self.caught_up_at - self.at


def kill_a_worker(job: Job, seen: Snapshot) -> Disaster:
    """Kill the last worker's trainer with SIGKILL."""
    pod = job.pods(seen.attempt)[-1]
    step = _step(job, seen)
    machines.sigkill(job.lab.kube, pod, "trainer")
    what = f"worker {pod.metadata.name} on {pod.spec.node_name} killed with SIGKILL"
    return Disaster(what, seen.attempt, step, time.monotonic())


def power_a_node_off(job: Job, seen: Snapshot) -> tuple[Disaster, int]:
    """Power off the node of the last worker; returns the node's number too."""
    node = str(job.pods(seen.attempt)[-1].spec.node_name)
    number = job.lab.workers().index(node) + 1
    step = _step(job, seen)
    faults.power_off(job.lab.kube, number)
    return Disaster(f"node {node} powered off", seen.attempt, step, time.monotonic()), number


def _step(job: Job, seen: Snapshot) -> int:
    """The step now: what was seen a moment ago, or what a log says since."""
    steps: list[dict[str, Any]] = [line for pod in job.pods(seen.attempt) for line in job.said(pod, "step")]
    return max([int(line["step"]) for line in steps] + [seen.step or 0])
