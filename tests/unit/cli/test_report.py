"""What the command prints."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from holdfast.cli import report

JOB: dict[str, Any] = {
    "metadata": {"name": "digits", "namespace": "team"},
    "status": {
        "phase": "Running",
        "attempt": 2,
        "reason": "Running",
        "progress": {"step": 420, "total": 1000},
        "checkpoint": {"latest": {"step": 400, "committedAt": "2026-03-01T12:00:00Z", "manifest": "gs://b/p/x.json"}},
        "conditions": [{"type": "Running", "status": "True", "reason": "Running", "message": "Attempt 2 runs."}],
        "attempts": [
            {"attempt": 1, "startedAt": "t0", "endedAt": "t1", "cause": "NodeLost", "message": "Node n2 was deleted."},
            {"attempt": 2, "startedAt": "t1"},
        ],
    },
}


def test_the_table_has_a_line_a_job() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    fresh = {"metadata": {"name": "new", "namespace": "team"}}
    console.print(report.table([JOB, fresh], with_namespace=True))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[1] == ["team", "digits", "Running", "2", "420/1000", "400", "0", "Running"]
    assert lines[2][:3] == ["team", "new", "Pending"]


def test_the_details_tell_every_attempt_and_condition() -> None:
    text = "\n".join(report.details(JOB))
    assert "attempt 1 started t0, ended t1: NodeLost - Node n2 was deleted." in text
    assert "attempt 2 started t1, runs" in text
    assert "newest commit: step 400" in text
    assert "Running=True (Running): Attempt 2 runs." in text
