"""What the command prints: a table of jobs, and everything that one job's status says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.table import Table

from holdfast.cli.connection import Job


def table(jobs: Iterable[Job], *, with_namespace: bool) -> Table:
    """Return the jobs as a table, one line each."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("NAME", "PHASE", "ATTEMPT", "STEP", "COMMITTED", "RESTARTS", "REASON")
    for name in (("NAMESPACE",) if with_namespace else ()) + columns:
        drawn.add_column(name)
    for job in jobs:
        drawn.add_row(*_row(job, with_namespace=with_namespace))
    return drawn


def _row(job: Job, *, with_namespace: bool) -> Iterator[str]:
    meta, status = job["metadata"], job.get("status") or {}
    if with_namespace:
        yield str(meta["namespace"])
    yield str(meta["name"])
    yield str(status.get("phase", "Pending"))
    yield str(status.get("attempt", ""))
    yield _step(status.get("progress") or {})
    yield str(((status.get("checkpoint") or {}).get("latest") or {}).get("step", ""))
    yield str(status.get("restarts", 0))
    yield str(status.get("reason", ""))


def _step(progress: dict[str, Any]) -> str:
    step, total = progress.get("step"), progress.get("total")
    if step is None:
        return ""
    return f"{step}/{total}" if total is not None else str(step)


def details(job: Job) -> Iterator[str]:
    """Yield what one job's status says, line by line."""
    status = job.get("status") or {}
    yield f"{job['metadata']['namespace']}/{job['metadata']['name']}: {status.get('phase', 'Pending')}"
    if status.get("message"):
        yield f"  {status['message']}"
    latest = (status.get("checkpoint") or {}).get("latest")
    if latest:
        yield f"  newest commit: step {latest['step']} at {latest['committedAt']}, {latest.get('manifest', '')}"
    for condition in status.get("conditions", []):
        text = f"  {condition['type']}={condition['status']} ({condition['reason']})"
        yield f"{text}: {condition['message']}" if condition.get("message") else text
    for row in status.get("attempts", []):
        ended = f"ended {row['endedAt']}: {row.get('cause', '')}" if row.get("endedAt") else "runs"
        why = f" - {row['message']}" if row.get("message") else ""
        yield f"  attempt {row['attempt']} started {row['startedAt']}, {ended}{why}"
