"""What happens to jobs is counted once, by the replica that leads."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.api import labels
from holdfast.api.wire import Commit, Outcome, Report, encode
from holdfast.app.metrics import Metrics
from holdfast.app.tally import Tally, oldest_commit_s
from holdfast.planning.observed import (
    ContainerState,
    ContainerStatus,
    CustomObject,
    Metadata,
    Pod,
    PodStatus,
    Terminated,
)

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


class House:
    def __init__(self, leading_since: datetime | None = NOW) -> None:
        self.metrics = Metrics()
        self.leading_since = leading_since
        self.owners = {"pod-0": "job", "pod-1": "job", "pod-2": "other"}
        self.tally = Tally(self.metrics, lambda: self.leading_since, self.owners.get)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def report(self, pod: str, *commits: Commit) -> None:
        self.tally.reported(
            Report(
                role="Sidecar",
                namespace="ns",
                job="j",
                # A pod's word about its job's UID counts for nothing.
                job_uid="lie",
                attempt=1,
                slot="0-0",
                pod_name=pod,
                pod_uid=pod,
                sequence=1,
                phase="Watching",
                commits=commits,
            )
        )


def commit(step: int, seconds: float, run: int = 1, size: int = 5000) -> Commit:
    return Commit(run=run, step=step, committed_at=(NOW + timedelta(seconds=seconds)).isoformat(), bytes=size)


def job(*rows: dict[str, Any], **status: Any) -> CustomObject:
    spec = {"checkpoint": {"destination": "gs://b/p"}}
    return CustomObject(
        metadata=Metadata(name="j", namespace="ns", uid="job"), spec=spec, status={"attempts": list(rows), **status}
    )


def row(attempt: int, cause: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"attempt": attempt, "startedAt": NOW.isoformat()}
    return made if cause is None else {**made, "endedAt": NOW.isoformat(), "cause": cause}


def test_attempts_are_counted_by_cause_as_they_begin_and_end() -> None:
    house = House()
    steps = [
        job(),
        job(row(1)),
        job(row(1, "NodeLost"), row(2)),
        job(row(1, "NodeLost"), row(2)),
        job(row(1, "NodeLost"), row(2, "NonsenseFromTheFuture"), row(3)),
        job(row(2, "NonsenseFromTheFuture"), row(3, "Succeeded")),
    ]
    for old, new in itertools.pairwise(steps):
        house.tally.job_changed(old, new)
    assert house.value("holdfast_attempts_started_total") == 3
    ended = "holdfast_attempts_ended_total"
    assert [house.value(ended, cause=cause) for cause in ("NodeLost", "other", "Succeeded")] == [1, 1, 1]


def test_what_was_there_before_and_what_a_follower_sees_is_not_counted() -> None:
    house = House()
    house.tally.job_changed(None, job(row(1, "NodeLost"), row(2)))
    house.leading_since = None
    house.tally.job_changed(job(row(1)), job(row(1, "NodeLost"), row(2)))
    house.report("pod-0", commit(10, 1))
    assert house.value("holdfast_attempts_started_total") == 0
    assert house.value("holdfast_attempts_ended_total", cause="NodeLost") == 0
    assert house.value("holdfast_commits_total") == 0


def test_a_commit_counts_once_whoever_tells_of_it() -> None:
    house = House()
    house.report("pod-0")
    for pod in ("pod-0", "pod-1", "pod-0"):
        house.report(pod, commit(10, 5), commit(20, 45))
    house.report("pod-1", commit(20, 45), commit(30, 50, run=2))
    assert house.value("holdfast_commits_total") == 3
    assert house.value("holdfast_commit_bytes_bucket", le="1e+06") == 3
    assert house.value("holdfast_commit_bytes_sum") == 15000
    assert house.value("holdfast_commit_interval_seconds_count") == 2
    assert house.value("holdfast_commit_interval_seconds_sum") == 45
    house.report("pod-2", commit(10, 5))
    assert house.value("holdfast_commits_total") == 4


def test_commits_of_an_earlier_term_are_not_news() -> None:
    house = House()
    house.report("pod-0", commit(10, -60), commit(20, -1), commit(30, 1))
    assert house.value("holdfast_commits_total") == 1
    assert house.value("holdfast_commit_interval_seconds_sum") == 2
    house.report("pod-1", commit(10, -60), commit(20, -1), commit(30, 1))
    assert house.value("holdfast_commits_total") == 1


def test_odd_words_of_a_pod_are_harmless() -> None:
    house = House()
    house.report("pod-0", commit(5, 1))
    house.report("pod-0", Commit(run=1, step=10, committed_at="yesterday", bytes=1))
    house.report("pod-0", Commit(run=1, step=20, committed_at="2030-01-01T12:00:10", bytes=1))
    house.report("pod-0", commit(30, 40))
    assert house.value("holdfast_commits_total") == 4
    assert house.value("holdfast_commit_interval_seconds_count") == 0


def test_nothing_is_kept_of_jobs_that_are_gone_nor_of_pods_of_none() -> None:
    house = House()
    house.report("pod-0", commit(10, 1))
    house.report("stranger", commit(10, 1))
    assert house.tally.committed_at("job") == NOW + timedelta(seconds=1)
    house.tally.job_changed(job(), None)
    assert house.tally.committed_at("job") is None
    assert house.tally._newest == {}


def pod(restore: Terminated | None) -> Pod:
    status = ContainerStatus(name=labels.RESTORE_CONTAINER, state=ContainerState(terminated=restore))
    return Pod(metadata=Metadata(name="p", uid="pod-0"), status=PodStatus(init_container_statuses=(status,)))


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (encode(Outcome(kind="Restored", step=5)).decode(), "Restored"),
        (encode(Outcome(kind="Superseded")).decode(), "Superseded"),
        ("Killed", "Failed"),
        ('{"kind": "Nonsense"}', "Failed"),
        ("", "Failed"),
    ],
)
def test_a_restore_step_is_counted_when_it_ends(message: str, outcome: str) -> None:
    house = House()
    ended = pod(Terminated(message=message, started_at=NOW, finished_at=NOW + timedelta(seconds=20)))
    house.tally.pod_changed(None, ended)
    house.tally.pod_changed(pod(None), ended)
    house.tally.pod_changed(ended, ended)
    assert house.value("holdfast_restores_total", outcome=outcome) == 1
    assert house.value("holdfast_restore_seconds_sum") == (20 if outcome == "Restored" else 0)


def test_the_oldest_newest_commit_of_all_running_jobs() -> None:
    house = House()
    started = row(1)
    fresh = {"latest": {"committedAt": (NOW + timedelta(seconds=90)).isoformat()}}
    later = NOW + timedelta(seconds=100)
    assert oldest_commit_s([job(started, phase="Running")], house.tally, later) == 100
    assert oldest_commit_s([job(started, phase="Running", checkpoint=fresh)], house.tally, later) == 10
    assert oldest_commit_s([job(started, phase="Suspended")], house.tally, later) == 0
    house.report("pod-0", commit(10, 97))
    assert oldest_commit_s([job(started, phase="Running", checkpoint=fresh)], house.tally, later) == 3
    without = CustomObject(status={"phase": "Running", "attempts": [started]})
    assert oldest_commit_s([without], house.tally, later) == 0
