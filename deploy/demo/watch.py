"""What the demo shows of a job: one look at a time, and a table of several jobs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kubernetes.client import ApiException
from rich.table import Table
from urllib3.exceptions import HTTPError

from deploy.demo.job import Job

_MISSING = "-"


@dataclass(frozen=True)
class Look:
    """One job at one moment. ``step`` and ``loss`` are the trainer's words, ``committed`` is what the bucket has."""

    name: str
    phase: str = "Pending"
    reason: str = ""
    attempt: int = 0
    step: int = 0
    loss: float | None = None
    committed: int = 0
    nodes: str = ""
    at: float = 0.0

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self.phase in ("Succeeded", "Failed")

    def line(self) -> str:
        """The look as one line, for output that is not a terminal."""
        loss = _MISSING if self.loss is None else f"{self.loss:.4f}"
        return (
            f"{self.name:<18} {self.phase:<11} attempt {self.attempt}  step {self.step:>4}  loss {loss:<7}  "
            f"committed {self.committed:>4}  {self.nodes}"
        )


def look(job: Job, before: Look | None = None) -> Look:
    """Look at a job; where a part cannot be seen right now, what was seen before stands."""
    old = before or Look(job.name)
    try:
        status = job.status()
        attempt = int(status.get("attempt") or 0)
        pods = job.pods(attempt)
        steps = [line for pod in pods[:1] for line in job.said(pod, "step")]
        newest = steps[-1] if steps else {}
        return Look(
            name=job.name,
            phase=str(status.get("phase", "Pending")),
            reason=str(status.get("reason", "")),
            attempt=attempt,
            step=int(newest.get("step", old.step if attempt == old.attempt else 0)),
            loss=newest.get("loss", old.loss),
            committed=job.committed() or old.committed,
            nodes=" ".join(str(pod.spec.node_name or _MISSING) for pod in pods),
            at=time.monotonic(),
        )
    except (ApiException, HTTPError, OSError):
        # A node that was just switched off takes its pods' logs along: the next look will see more.
        return Look(**{**old.__dict__, "at": time.monotonic()})


def table(looks: list[Look], elapsed_s: float, caption: str) -> Table:
    """The looks as a table."""
    drawn = Table(title=f"Holdfast demo, {elapsed_s:.0f} s", caption=caption, title_justify="left")
    for column in ("job", "phase", "attempt", "step", "loss", "last commit", "reason", "nodes"):
        drawn.add_column(column)
    for one in looks:
        drawn.add_row(
            one.name,
            one.phase,
            str(one.attempt or _MISSING),
            str(one.step or _MISSING),
            _MISSING if one.loss is None else f"{one.loss:.4f}",
            str(one.committed or _MISSING),
            one.reason,
            one.nodes,
        )
    return drawn
