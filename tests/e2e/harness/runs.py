"""Jobs of one test: started from the manifests, waited for with deadlines, judged by the promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.demo import machines
from deploy.demo.job import Job
from deploy.demo.lab import Lab
from tests.e2e.harness import diagnosis, manifests, promises
from tests.e2e.harness.pod_history import PodHistory
from tests.e2e.harness.waiting import until

Fields = dict[str, Any]

# How long a container may run before its trainer has printed a line.
_FIRST_LINE_S = 30
_ENDED = ("Succeeded", "Failed", "Refused")


@dataclass(frozen=True)
class Run:
    """One job under test."""

    job: Job
    history: PodHistory

    def explain(self) -> str:
        """What is to be seen of the job, for a failed wait."""
        return diagnosis.of_job(self.job)

    def phase(self, *wanted: str, within_s: float) -> Fields:
        """Wait for one of the phases and return the status; an end of another kind is not waited out."""

        def ask() -> Fields | None:
            status = self.job.status()
            return status if status.get("phase") in wanted else None

        def hopeless() -> str | None:
            status = self.job.status()
            phase = status.get("phase")
            ended = phase in _ENDED and phase not in wanted
            return f"{phase}/{status.get('reason')}: {status.get('message')}" if ended else None

        what = f"{self.job.name} is {' or '.join(wanted)}"
        return until(what, ask, within_s=within_s, explain=self.explain, hopeless=hopeless)

    def reason(self, wanted: str, within_s: float) -> Fields:
        """Wait until the job's status gives this reason, and return the status."""

        def ask() -> Fields | None:
            status = self.job.status()
            return status if status.get("reason") == wanted else None

        return until(f"{self.job.name} gives {wanted}", ask, within_s=within_s, explain=self.explain)

    def attempt(self, number: int, within_s: float) -> list[Any]:
        """Wait until all trainers of an attempt run, and return its pods."""

        def ask() -> list[Any] | None:
            if int(self.job.status().get("attempt") or 0) < number:
                return None
            pods = self.job.pods(number)
            return pods if len(pods) == self.workers() and all(map(_trainer_runs, pods)) else None

        what = f"attempt {number} of {self.job.name} runs"
        return until(what, ask, within_s=within_s, explain=self.explain, hopeless=self._ended)

    def step(self, step: int, within_s: float) -> None:
        """Wait until every trainer of the current attempt has got to a step."""

        def ask() -> bool:
            pods = self.job.current_pods()
            return len(pods) == self.workers() and all(self.last_step(pod) >= step for pod in pods)

        what = f"{self.job.name} is at step {step}"
        until(what, ask, within_s=within_s, explain=self.explain, hopeless=self._ended)

    def committed(self, step: int, within_s: float) -> None:
        """Wait until a step, or a later one, is committed."""
        what = f"step {step} of {self.job.name} is committed"
        until(what, lambda: self.job.committed() >= step, within_s=within_s, explain=self.explain)

    def kept(self, *steps: int, within_s: float) -> None:
        """Wait until the bucket holds the commits of these steps and no other."""

        def ask() -> bool:
            return [commit.step for commit in self.job.lab.bucket.commits(self.job.prefix())] == list(steps)

        until(f"{self.job.name} has kept {steps}", ask, within_s=within_s, explain=self.explain)

    def condition(self, kind: str, status: str, within_s: float) -> Fields:
        """Wait until a condition has this status, and return it."""

        def ask() -> Fields | None:
            conditions: Sequence[Fields] = self.job.status().get("conditions") or []
            return next((item for item in conditions if (item["type"], item["status"]) == (kind, status)), None)

        what = f"{kind} of {self.job.name} is {status}"
        return until(what, ask, within_s=within_s, explain=self.explain, hopeless=self._ended)

    def gone(self, within_s: float) -> None:
        """Wait until no pod of the job is left."""
        what = f"no pod of {self.job.name} is left"
        until(what, lambda: not self.job.pods(), within_s=within_s, explain=self.explain)

    def succeeded(self, within_s: float, *, from_newest: bool = True) -> Fields:
        """Wait for the job's success, check the promises, and return the status."""
        status = self.phase("Succeeded", within_s=within_s)
        promises.check(self.job, self.history)
        if from_newest:
            promises.went_on_from_newest(self.job)
        newest = self.job.newest_commit()
        assert newest is not None
        assert status["checkpoint"]["latest"]["step"] == newest.step, self.explain()
        return status

    def kill_trainer(self, pod: Any) -> None:
        """Kill a worker's trainer with SIGKILL."""
        machines.sigkill(self.job.lab.kube, pod, "trainer")

    def last_step(self, pod: Any) -> int:
        """The last step that a trainer has printed, 0 before the first."""
        return max((int(line["step"]) for line in self.job.said(pod, "step")), default=0)

    def restored_steps(self, attempt: int) -> list[int | None]:
        """What the trainers of an attempt say that they were given, in the order of the workers, once all have."""

        def ask() -> list[int | None] | None:
            told = [line["restoredStep"] for pod in self.job.pods(attempt) for line in self.job.said(pod, "start")]
            return told if len(told) == self.workers() else None

        what = f"all trainers of attempt {attempt} have begun"
        return until(what, ask, within_s=_FIRST_LINE_S, explain=self.explain)

    def row(self, attempt: int) -> Fields:
        """The row of an attempt in status."""
        rows: Sequence[Fields] = self.job.status().get("attempts") or []
        found = next((row for row in rows if row["attempt"] == attempt), None)
        assert found is not None, f"there is no row of attempt {attempt}\n{self.explain()}"
        return found

    def workers(self) -> int:
        """How many workers the spec asks for."""
        return int(self.job.object()["spec"]["accelerator"]["cpu"]["workers"])

    def _ended(self) -> str | None:
        status = self.job.status()
        return f"it is {status['phase']}: {status.get('message')}" if status.get("phase") in _ENDED else None


@dataclass(frozen=True)
class Runs:
    """Starts jobs in the namespace of one test."""

    lab: Lab
    namespace: str
    history: PodHistory

    def plain(self, name: str, change: Fields | None = None, *, workers: int = 1, **knobs: object) -> Run:
        """Start a job of the plain trainer. ``change`` is merged into its spec."""
        manifest = manifests.plain(name, self.lab.images.holdfast, self.namespace, workers, **knobs)
        return self.start(manifest, change)

    def digits(self, name: str, change: Fields | None = None, *, workers: int = 2, **knobs: object) -> Run:
        """Start a job of the digits example. ``change`` is merged into its spec."""
        manifest = manifests.digits(name, self.lab.images.trainer, self.namespace, workers, **knobs)
        return self.start(manifest, change)

    def start(self, manifest: Fields, change: Fields | None = None) -> Run:
        """Create the object."""
        manifest["spec"] = manifests.merged(manifest["spec"], change or {})
        return Run(Job.create(self.lab, self.namespace, manifest), self.history)


def _trainer_runs(pod: Any) -> bool:
    statuses = pod.status.container_statuses or []
    return any(status.name == "trainer" and status.state.running is not None for status in statuses)
