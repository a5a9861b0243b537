"""Whether what `kubectl get` shows of a job's attempts adds up: number, restarts, rows, workers, checkpoint."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Fields = dict[str, Any]

# What docs/reference/api.md says of recovery.maxRestarts: preemption, node loss, drains and suspends do not count.
_COUNTED = frozenset(
    {"WorkerFailed", "OutOfMemory", "PodDeleted", "RestoreFailed", "FinalCheckpointNotCommitted", "Stalled", "Unknown"}
)
_ENDED = ("Succeeded", "Failed")


def check(name: str, status: Fields) -> None:
    """Raise AssertionError where one part of a status contradicts another; restarts must be younger than the window."""
    rows = status.get("attempts") or []
    if rows:
        _attempts(name, status, rows)
        _restarts(name, status, rows)
    workers = status.get("workers") or {}
    desired, created = workers.get("desired", 0), workers.get("created", 0)
    up = workers.get("running", 0) + workers.get("succeeded", 0)
    assert up <= created <= desired, f"{name}: {up} workers run or have succeeded, {created} of {desired} are there"
    kept = status.get("checkpoint") or {}
    if kept.get("list"):
        assert kept["latest"] == kept["list"][0], f"{name}: latest is {kept['latest']}, the list has {kept['list'][0]}"


def _attempts(name: str, status: Fields, rows: list[Fields]) -> None:
    last, phase = rows[-1], status.get("phase")
    assert status.get("attempt") == last["attempt"], f"{name}: attempt {status.get('attempt')}, rows to {last}"
    for earlier, later in pairwise(rows):
        assert earlier.get("cause"), f"{name}: attempt {earlier['attempt']} has ended without a cause"
        gap = later["attempt"] - earlier["attempt"]
        # Only where the bucket, or pods, know of attempts that status does not, are numbers left out.
        assert gap == 1 or (gap > 1 and earlier["cause"] == "Superseded"), f"{name}: {later} follows {earlier}"
    assert bool(last.get("endedAt")) == bool(last.get("cause")), f"{name}: end and cause of {last}"
    assert not last.get("endedAt") or phase != "Running", f"{name}: Running, and its attempt has ended: {last}"
    assert last.get("endedAt") or phase not in _ENDED, f"{name}: {phase}, and its attempt has not ended: {last}"
    assert (phase == "Succeeded") == (last.get("cause") == "Succeeded"), f"{name}: {phase}, and the last row is {last}"


def _restarts(name: str, status: Fields, rows: list[Fields]) -> None:
    told, times = status.get("restarts") or 0, status.get("restartTimes") or []
    assert told == len(times), f"{name}: {told} restarts, and the times of {len(times)}"
    if rows[0]["attempt"] == 1:
        # Of a long life only the last rows are kept. What ended the last attempt has restarted nothing.
        counted = [row["attempt"] for row in rows[:-1] if row["cause"] in _COUNTED]
        assert told == len(counted), f"{name}: {told} restarts, and those that count ended attempts {counted}"
