"""When a job has succeeded, and that finished jobs are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.api.wire import Commit, Outcome
from holdfast.planning.plan import PODS, Delete, Plan
from holdfast.training.plan import plan
from tests.unit.training import builders as b


def words(complete: int | None, committed: int | None) -> Outcome:
    return Outcome(kind="Finished", last_complete=complete, part_written=complete, committed=committed)


def restored(step: int) -> Outcome:
    """The last words of a trainer that was at its end when it began."""
    return Outcome(kind="Finished", step=step, last_complete=step)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (words(300, 300), words(300, 300)),
        (words(300, 200), words(300, 300)),
        (words(300, 200), words(200, 200)),
        (words(None, None), words(None, None)),
        (restored(300), restored(300)),
        (words(None, None), words(100, None)),
    ],
)
def test_success_is_when_what_all_hold_is_committed_by_anybodys_word(first: Outcome, second: Outcome) -> None:
    seen = b.observed(b.job(b.attempt_status()), b.succeeded(0, first), b.succeeded(1, second))
    status = b.wanted(plan(seen, b.NOW).status)
    assert status["phase"] == "Succeeded"
    assert b.condition(status, "Succeeded")["status"] == "True"


def test_the_last_commit_is_told_when_nobody_has_heard_the_last_report() -> None:
    newest = Commit(run=1, step=300, committed_at="2026-03-01T12:00:00Z", bytes=7, object="gs://bucket/run/commit.json")
    last = Outcome(kind="Finished", last_complete=300, part_written=300, committed=300, newest=newest)
    seen = b.observed(b.job(b.attempt_status()), b.succeeded(0, words(300, 300)), b.succeeded(1, last))
    told = b.wanted(plan(seen, b.NOW).status)["checkpoint"]
    assert (told["latest"]["step"], told["latest"]["manifest"]) == (300, "gs://bucket/run/commit.json")


@pytest.mark.parametrize(("first", "second"), [(words(300, 200), words(300, 200)), (words(100, 100), None)])
def test_a_final_checkpoint_that_is_not_committed_is_no_success(first: Outcome, second: Outcome | None) -> None:
    seen = b.observed(b.job(b.attempt_status()), b.succeeded(0, first), b.succeeded(1, second))
    status = b.wanted(plan(seen, b.NOW).write_ahead)
    assert status["attempts"][0]["cause"] == "FinalCheckpointNotCommitted"
    assert status["attempt"] == 2


def test_the_last_report_stands_in_for_a_lost_termination_message() -> None:
    pods = (b.succeeded(0, words(300, 300)), b.succeeded(1, None))
    told = (b.report(pods[1], phase="Finished", last_complete=300, committed=300),)
    status = b.wanted(plan(b.observed(b.job(b.attempt_status()), *pods, reports=told), b.NOW).status)
    assert status["phase"] == "Succeeded"


def test_a_job_without_checkpoints_succeeds_by_its_exit_codes() -> None:
    bare = b.job(b.attempt_status(), checkpoint=None)
    status = b.wanted(plan(b.observed(bare, b.succeeded(0, None), b.succeeded(1, None)), b.NOW).status)
    assert status["phase"] == "Succeeded"


def test_a_finished_job_is_left_alone() -> None:
    done = b.attempt_status(
        conditions=[
            {"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": b.stamp(b.NOW)}
        ]
    )
    assert plan(b.observed(b.job(done), b.succeeded(0, None)), b.NOW) == Plan()


def test_a_failed_job_stops_what_still_runs_and_keeps_the_logs_of_the_rest() -> None:
    failed = b.attempt_status(
        conditions=[
            {"type": "Failed", "status": "True", "reason": "FinalExitCode", "lastTransitionTime": b.stamp(b.NOW)}
        ]
    )
    result = plan(b.observed(b.job(failed), b.running(0), b.failed(1)), b.NOW)
    assert [action.name for action in result.actions if isinstance(action, Delete)] == ["digits-0-0-1"]
    assert result.status is None


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_pod_of_an_older_attempt_that_comes_after_the_success_is_stopped(checkpoint: bool) -> None:
    """A create may arrive when its sender is long gone; without a checkpoint nothing else ends its trainer."""
    done = {"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": b.stamp(b.NOW)}
    spec: dict[str, Any] = {} if checkpoint else {"checkpoint": None}
    job = b.job(b.attempt_status(2, phase="Succeeded", conditions=[done]), ttlAfterFinished="0s", **spec)
    own = (b.succeeded(0, words(300, 300), 2), b.succeeded(1, words(300, 300), 2))
    for late in (b.running(0), b.pod(0, phase="Pending"), b.failed(0)):
        result = plan(b.observed(job, *own, late), b.NOW)
        assert result.actions == (Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 30),)
        assert result.status is None
        assert result.write_ahead is None
    assert plan(b.observed(job, *own), b.NOW).actions != (), "then the object goes in its time"
