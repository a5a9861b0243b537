"""What happens to jobs, counted while this replica leads: attempts, commits and restore steps.

It is read off what the caches and the reports show anyway, change by change, so the sum over the replicas counts
everything once; what changes while no replica leads, for seconds, is not counted. Nothing is kept but the newest commit
of each job that reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from holdfast.api import labels
from holdfast.api.wire import Commit, Outcome, Report
from holdfast.app import series
from holdfast.app.metrics import Metrics
from holdfast.planning.observed import CustomObject, Pod

Order = tuple[int, int]


class Tally:
    """Counts. `leading_since` is None on a follower, which counts nothing; `owner_of` names a pod's job by UIDs."""

    def __init__(
        self, metrics: Metrics, leading_since: Callable[[], datetime | None], owner_of: Callable[[str], str | None]
    ) -> None:
        self._metrics = metrics
        self._leading_since = leading_since
        self._owner_of = owner_of
        self._newest: dict[str, tuple[Order, datetime | None]] = {}
        metrics.announce(
            series.ATTEMPTS_STARTED,
            series.ATTEMPTS_ENDED,
            series.COMMITS,
            series.COMMIT_BYTES,
            series.COMMIT_INTERVAL,
            series.RESTORES,
            series.RESTORE_SECONDS,
        )

    def clear(self) -> None:
        """Forget every job: another replica leads now."""
        self._newest.clear()

    def committed_at(self, job_uid: str) -> datetime | None:
        """Return when the newest commit was made that a report of the job has told of."""
        return self._newest.get(job_uid, (None, None))[1]

    def job_changed(self, old: CustomObject | None, new: CustomObject | None) -> None:
        """Take one change of a job. What is seen for the first time happened before."""
        if new is None and old is not None:
            self._newest.pop(old.metadata.uid, None)
        if old is None or new is None or self._leading_since() is None:
            return
        before, after = _rows(old), _rows(new)
        for number, row in after.items():
            if number not in before and number > max(before, default=0):
                self._metrics.count(series.ATTEMPTS_STARTED)
            if row.get("endedAt") and not before.get(number, {}).get("endedAt"):
                self._metrics.count(series.ATTEMPTS_ENDED, str(row.get("cause")))

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Take one change of a pod: the end of its restore step."""
        if old is None or new is None or self._leading_since() is None:
            return
        before, after = old.container(labels.RESTORE_CONTAINER), new.container(labels.RESTORE_CONTAINER)
        ended = after.state.terminated if after is not None else None
        if ended is None or (before is not None and before.state.terminated is not None):
            return
        outcome = _outcome_of(ended.message)
        self._metrics.count(series.RESTORES, outcome)
        if outcome == "Restored" and ended.started_at is not None and ended.finished_at is not None:
            self._metrics.observe(series.RESTORE_SECONDS, (ended.finished_at - ended.started_at).total_seconds())

    def reported(self, report: Report) -> None:
        """Take the commits that a report tells of; every pod of a job tells of the same ones."""
        since, owner = self._leading_since(), self._owner_of(report.pod_uid)
        if since is None or not owner:
            return
        known = self._newest.get(owner)
        first = known is None
        for commit in sorted(report.commits, key=_order):
            at = _time(commit.committed_at)
            if known is not None and _order(commit) <= known[0]:
                continue
            # Of a job that was not heard of in this term, only what is newer than the term is news.
            if not first or (at is not None and at >= since):
                self._committed(commit, at, known[1] if known is not None else None)
            known = (_order(commit), at)
        self._newest[owner] = known if known is not None else ((0, -1), None)

    def _committed(self, commit: Commit, at: datetime | None, before: datetime | None) -> None:
        self._metrics.count(series.COMMITS)
        self._metrics.observe(series.COMMIT_BYTES, commit.bytes)
        if at is not None and before is not None and at >= before:
            self._metrics.observe(series.COMMIT_INTERVAL, (at - before).total_seconds())


def _order(commit: Commit) -> Order:
    return commit.run, commit.step


def _rows(job: CustomObject) -> dict[int, Mapping[str, Any]]:
    return {int(row["attempt"]): row for row in job.status.get("attempts") or () if "attempt" in row}


def _outcome_of(message: str) -> str:
    try:
        return msgspec.json.decode(message.encode(), type=Outcome).kind
    except msgspec.DecodeError:
        return "Failed"


def _time(text: object) -> datetime | None:
    """Return an aware time, None for what is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def oldest_commit_s(jobs: list[CustomObject], tally: Tally, now: datetime) -> float:
    """Return the greatest age of the newest commit over all running jobs that make checkpoints; 0 without any."""
    ages = [0.0]
    for job in jobs:
        status, checkpoint = job.status, job.spec.get("checkpoint") or {}
        if status.get("phase") != "Running" or not checkpoint.get("destination"):
            continue
        rows: Sequence[Mapping[str, Any]] = status.get("attempts") or ({},)
        latest = (status.get("checkpoint") or {}).get("latest") or {}
        times = [
            _time(rows[-1].get("startedAt")),
            _time(latest.get("committedAt")),
            tally.committed_at(job.metadata.uid),
        ]
        if newest := max((time for time in times if time is not None), default=None):
            ages.append((now - newest).total_seconds())
    return max(ages)
