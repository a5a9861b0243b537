"""Stops: drain, wait, delete; suspend and resume; deletions by others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.api import labels as names
from holdfast.api.wire import Commit
from holdfast.planning.observed import CustomObject, DryRunResult
from holdfast.planning.plan import PODS, Delete
from holdfast.training.plan import plan
from tests.unit.training import builders as b


def suspending(**row: Any) -> dict[str, Any]:
    closed = {"attempt": 1, "startedAt": b.stamp(b.NOW), "endedAt": b.stamp(b.NOW), "cause": "Suspended", **row}
    return b.attempt_status(phase="Suspending", attempts=[closed])


def test_a_suspend_is_written_down_before_anything_is_stopped() -> None:
    result = plan(b.observed(b.job(b.attempt_status(), suspend=True), b.running(0), b.running(1)), b.NOW)
    status = b.wanted(result.write_ahead)
    assert status["phase"] == "Suspending"
    assert status["attempts"][0]["cause"] == "Suspended"
    assert not result.actions


def test_a_suspend_drains_first_and_deletes_when_all_have_acknowledged() -> None:
    pods = (b.running(0), b.running(1))
    ask = plan(
        b.observed(b.job(suspending(), suspend=True), *pods, reports=(b.report(pods[0]), b.report(pods[1]))), b.NOW
    )
    assert not ask.actions
    order = ask.commands["pod-0-1-1"][0]
    assert order.kind == "Drain"
    told = (b.report(pods[0], acknowledged=(order.id,), phase="Flushed"), b.report(pods[1]))
    result = plan(b.observed(b.job(suspending(), suspend=True), *pods, reports=told), b.NOW)
    assert result.actions == (), "a worker that goes would break the checkpoint that its peer still writes"
    assert list(result.commands) == ["pod-1-1-1"]
    both = tuple(b.report(pod, acknowledged=(order.id,), phase="Flushed") for pod in pods)
    done = plan(b.observed(b.job(suspending(), suspend=True), *pods, reports=both), b.NOW)
    assert done.actions == (
        Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 30),
        Delete(PODS, "team", "digits-0-1-1", "pod-1-1-1", 30),
    )


def test_what_the_reports_tell_is_written_before_the_pods_that_told_it_are_deleted() -> None:
    pods = (b.running(0), b.running(1))
    order = "drain-1-" + str(int(b.NOW.timestamp()))
    commit = Commit(run=1, step=300, committed_at=b.stamp(b.NOW), object="gs://bucket/commit")
    told = tuple(b.report(pod, acknowledged=(order,), phase="Flushed", commits=(commit,)) for pod in pods)
    result = plan(b.observed(b.job(suspending(), suspend=True), *pods, reports=told), b.NOW)
    assert len(result.actions) == 2
    assert b.wanted(result.write_ahead)["checkpoint"]["latest"]["step"] == 300


@pytest.mark.parametrize("silent_s", [None, 71])
def test_a_silent_sidecar_is_not_waited_for(silent_s: float | None) -> None:
    one = b.running(0)
    reports = () if silent_s is None else (b.report(one, at=b.NOW - timedelta(seconds=silent_s)),)
    result = plan(b.observed(b.job(suspending(), suspend=True), one, reports=reports), b.NOW)
    assert [action.grace_s for action in result.actions if isinstance(action, Delete)] == [30]


def test_a_drain_ends_at_the_flush_timeout() -> None:
    one = b.running(0)
    job = b.job(suspending(endedAt=b.stamp(b.NOW - timedelta(seconds=600))), suspend=True)
    result = plan(b.observed(job, one, reports=(b.report(one, pending_bytes=5),)), b.NOW)
    assert len(result.actions) == 1


def test_a_broken_gang_waits_for_uploads_that_are_under_way_and_no_others() -> None:
    old = b.stamp(b.NOW - timedelta(seconds=20))
    rows = [
        {"attempt": 1, "startedAt": old, "endedAt": old, "cause": "WorkerFailed"},
        {"attempt": 2, "startedAt": old},
    ]
    restarting = b.job(b.attempt_status(2, created=False, phase="Restarting", attempts=rows))
    survivor = b.running(0)
    idle = plan(b.observed(restarting, survivor, reports=(b.report(survivor),)), b.NOW)
    assert len(idle.actions) == 1
    busy = plan(b.observed(restarting, survivor, reports=(b.report(survivor, pending_bytes=1),)), b.NOW)
    assert not busy.actions


def test_a_suspended_job_says_so_once_and_then_writes_nothing() -> None:
    result = plan(b.observed(b.job(suspending(), suspend=True)), b.NOW)
    status = b.wanted(result.status)
    assert b.condition(status, "Suspended")["status"] == "True"
    held = CustomObject(metadata=b.job().metadata, spec=b.spec(suspend=True), status=status)
    again = plan(b.observed(held), b.NOW + timedelta(hours=1))
    assert again.status is not None
    assert again.status.wanted == again.status.observed
    assert not again.actions


def test_a_resumed_job_goes_on_with_a_new_attempt() -> None:
    suspended = b.wanted(plan(b.observed(b.job(suspending(), suspend=True)), b.NOW).status)
    resumed = CustomObject(metadata=b.job().metadata, spec=b.spec(suspend=False), status=suspended)
    status = b.wanted(plan(b.observed(resumed, dry_run=b.accepted()), b.NOW).write_ahead)
    assert status["attempt"] == 2
    assert b.condition(status, "Suspended")["status"] == "False"


def test_a_job_that_is_resumed_before_its_pods_are_gone_is_not_held_up_by_what_they_hold() -> None:
    """A quota for one gang refuses the first pod of the next one as long as the gang that is being stopped is there."""
    resumed = b.job(suspending(), suspend=False)
    full = DryRunResult(f"{b.UID}/1", 403, "Forbidden", "exceeded quota: small", b.NOW)
    status = b.wanted(plan(b.observed(resumed, b.running(0), b.running(1), dry_run=full), b.NOW).write_ahead)
    assert status["attempt"] == 2
    going = plan(b.observed(b.job(status), b.running(0), b.running(1), dry_run=full), b.NOW + timedelta(minutes=20))
    assert [action.name for action in going.actions if isinstance(action, Delete)] == ["digits-0-0-1", "digits-0-1-1"]


def test_a_job_that_is_created_suspended_creates_nothing() -> None:
    result = plan(b.observed(b.job(suspend=True)), b.NOW)
    assert b.wanted(result.status)["phase"] == "Suspended"
    assert not result.actions
    assert result.dry_run is None


def test_a_deleted_pod_with_nothing_left_to_upload_is_let_go() -> None:
    going = b.running(0, deleting=b.NOW + timedelta(seconds=600), grace=600)
    flushed = b.report(going, phase="Flushed")
    without_job = plan(b.observed(None, going, reports=(flushed,)), b.NOW)
    assert without_job.actions == (Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 10),)
    busy = plan(b.observed(None, going, reports=(b.report(going),)), b.NOW)
    assert not busy.actions
    shortened = b.running(0, deleting=b.NOW, grace=10)
    assert not plan(b.observed(None, shortened, reports=(flushed,)), b.NOW).actions, "once is enough"


def test_a_deleted_pod_whose_trainer_has_not_begun_is_let_go() -> None:
    statuses: dict[str, Any] = {
        "initContainerStatuses": [b.container(names.RESTORE_CONTAINER, running={"startedAt": b.stamp(b.NOW)})],
        "containerStatuses": [b.container("trainer", waiting={"reason": "PodInitializing"})],
    }
    going = b.pod(0, deleting=b.NOW + timedelta(seconds=600), grace=600, **statuses)
    assert plan(b.observed(None, going), b.NOW).actions == (Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 10),)
    begun = b.running(0, deleting=b.NOW + timedelta(seconds=600), grace=600)
    assert not plan(b.observed(None, begun), b.NOW).actions


def test_an_ended_pod_whose_node_is_gone_is_removed_by_force() -> None:
    restarting = b.job(b.attempt_status(2, created=False, phase="Restarting"))
    dead = b.failed(0, node="gone", deleting=b.NOW, grace=30)
    assert plan(b.observed(restarting, dead), b.NOW).actions == (Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 0),)


def test_an_absent_job_creates_nothing() -> None:
    assert not plan(b.observed(None), b.NOW).actions


def test_a_sidecar_that_is_being_started_again_is_drained_like_any_other() -> None:
    waiting = {"reason": "CrashLoopBackOff"}
    statuses: dict[str, Any] = {
        "initContainerStatuses": [b.container(names.SIDECAR_CONTAINER, waiting=waiting)],
        "containerStatuses": [b.container("trainer", running={"startedAt": b.stamp(b.NOW)})],
    }
    one = b.pod(0, phase="Running", **statuses)
    result = plan(b.observed(b.job(suspending(), suspend=True), one, reports=(b.report(one),)), b.NOW)
    assert not result.actions, "what its trainer has just written is not sent yet"
    assert [order.kind for order in result.commands["pod-0-1-1"]] == ["Drain"]
    silent = (b.report(one, at=b.NOW - timedelta(seconds=71)),)
    assert plan(b.observed(b.job(suspending(), suspend=True), one, reports=silent), b.NOW).actions
