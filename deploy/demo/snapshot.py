"""What a job looks like at one moment: from its object, its pods' logs, and the bucket.

The step and the loss come from the trainers' logs, since status repeats them once a minute only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiException

from deploy.demo.job import Job
from deploy.demo.lab import REPLY_S

_LINES = 30


@dataclass(frozen=True)
class Worker:
    """One pod of the current attempt. `state` is a word for people."""

    name: str
    node: str
    state: str


@dataclass(frozen=True)
class Snapshot:
    """One moment. ``step`` and ``loss`` are those of the worker that is furthest; None before the first step."""

    phase: str = "-"
    reason: str = ""
    attempt: int = 0
    step: int | None = None
    loss: float | None = None
    committed: int = 0
    workers: tuple[Worker, ...] = ()


def take(job: Job) -> Snapshot:
    """Look at a job now."""
    status = job.status()
    attempt = int(status.get("attempt") or 0)
    pods = job.pods(attempt) if attempt else []
    lines = [line for pod in pods for line in _steps(job, pod)]
    last = max(lines, key=lambda line: int(line["step"]), default=None)
    return Snapshot(
        phase=str(status.get("phase") or "Pending"),
        reason=str(status.get("reason") or ""),
        attempt=attempt,
        step=int(last["step"]) if last else None,
        loss=float(last["loss"]) if last else None,
        committed=job.committed(),
        workers=tuple(Worker(pod.metadata.name, pod.spec.node_name or "-", _state(pod)) for pod in pods),
    )


def _steps(job: Job, pod: Any) -> list[dict[str, Any]]:
    """The newest lines about steps; none where the node does not answer."""
    try:
        answer = job.lab.core.read_namespaced_pod_log(
            pod.metadata.name, job.namespace, container="trainer", tail_lines=_LINES,
            _preload_content=False, _request_timeout=REPLY_S,
        )  # fmt: skip
    except ApiException:
        return []
    found = []
    for line in bytes(answer.data).decode(errors="replace").splitlines():
        if line.startswith("{"):
            try:
                decoded = json.loads(line)
            except ValueError:
                continue
            if decoded.get("event") == "step":
                found.append(decoded)
    return found


def _state(pod: Any) -> str:
    if pod.metadata.deletion_timestamp is not None:
        return "stopping"
    statuses = [*(pod.status.container_statuses or []), *(pod.status.init_container_statuses or [])]
    states = {status.name: status.state for status in statuses}
    trainer = states.get("trainer")
    if trainer is not None and trainer.running is not None:
        return "training"
    if trainer is not None and trainer.terminated is not None:
        return f"ended ({trainer.terminated.exit_code})"
    restore = states.get("holdfast-restore")
    return "restoring" if restore is not None and restore.running is not None else "starting"
