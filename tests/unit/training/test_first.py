"""The first attempt: its pods come before the first word in status, and every way on from there is right."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.planning.observed import Observed, Pod
from holdfast.planning.plan import Create, Delete, Plan
from holdfast.training.plan import plan
from tests.unit.training import builders as b

STARTED = b.NOW - timedelta(seconds=7)


def untold(*pods: Pod, suspend: bool = False, deleted: bool = False, **more: Any) -> Observed:
    job = b.job(suspend=suspend, deleted=b.NOW if deleted else None)
    return b.observed(job, *pods, **{"dry_run": b.accepted(), "service": b.service(), **more})


def silent(result: Plan) -> bool:
    """Whether the plan writes nothing to status."""
    writes = [write for write in (result.write_ahead, result.status) if write is not None]
    return all(write.wanted == write.observed for write in writes)


def test_an_accepted_job_gets_its_service_and_pods_at_once_and_nothing_is_written() -> None:
    result = plan(untold(service=None), b.NOW)
    kinds = [action.resource.kind for action in result.actions if isinstance(action, Create)]
    assert kinds == ["Service", "Pod", "Pod"]
    assert silent(result)


def test_after_a_crash_between_the_pods_the_missing_one_is_made() -> None:
    result = plan(untold(b.pod(0, phase="Pending", created=STARTED), dry_run=None), b.NOW)
    assert b.created(result) == ["digits-0-1-1"]
    assert silent(result)


def test_the_first_word_tells_the_attempt_and_that_it_runs() -> None:
    early, late = b.running(0, created=STARTED), b.running(1, created=b.NOW)
    heard = (b.report(early), b.report(late))
    result = plan(untold(early, late, reports=heard), b.NOW)
    status = b.wanted(result.status)
    assert (status["attempt"], status["phase"], status["workers"]["running"]) == (1, "Running", 2)
    assert status["attempts"] == [{"attempt": 1, "startedAt": b.stamp(STARTED), "nodes": []}]
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions.items() >= {"Accepted": "True", "SidecarIdentity": "True", "Running": "True"}.items()


def test_a_wait_that_lasts_is_told_with_the_attempt() -> None:
    pods = [b.pod(slot, phase="Pending", created=STARTED) for slot in (0, 1)]
    short = plan(untold(*pods, waiting=("AwaitingPods", b.NOW - timedelta(seconds=9))), b.NOW)
    assert silent(short)
    assert short.requeue_after_s == pytest.approx(1)
    long = plan(untold(*pods, waiting=("AwaitingPods", b.NOW - timedelta(seconds=10))), b.NOW)
    status = b.wanted(long.status)
    assert (status["attempt"], status["phase"], status["reason"]) == (1, "Starting", "AwaitingPods")
    assert b.condition(status, "Accepted")["status"] == "True"


def test_an_attempt_that_ends_before_it_was_told_is_told_with_its_end() -> None:
    result = plan(untold(b.running(0, created=STARTED), b.failed(1, created=STARTED)), b.NOW)
    first, second = b.wanted(result.write_ahead)["attempts"]
    assert (first["attempt"], first["cause"], first["startedAt"]) == (1, "WorkerFailed", b.stamp(STARTED))
    assert second["attempt"] == 2
    assert not result.actions, "the next attempt is written ahead of its pods"


def test_a_job_that_is_suspended_before_it_was_told_is_drained() -> None:
    result = plan(untold(b.running(0, created=STARTED), b.running(1, created=STARTED), suspend=True), b.NOW)
    [row] = b.wanted(result.write_ahead)["attempts"]
    assert (row["attempt"], row["cause"]) == (1, "Suspended")


def test_a_job_that_is_applied_suspended_has_no_attempt() -> None:
    result = plan(untold(suspend=True), b.NOW)
    status = b.wanted(result.status)
    assert (status["phase"], status["attempts"], status.get("attempt")) == ("Suspended", [], None)
    assert not result.actions


LATE = (b.running(0, created=STARTED), b.running(1, created=STARTED))
SUSPENDED: dict[str, Any] = {
    "conditions": [
        {"type": "Suspended", "status": "True", "reason": "Suspended", "lastTransitionTime": b.stamp(STARTED)}
    ],
    "phase": "Suspended",
    "reason": "Suspended",
    "observedGeneration": 1,
}


def test_pods_that_come_late_to_a_job_suspended_before_its_first_attempt_are_stopped() -> None:
    """Their creates were sent by a leader that is gone. The stop must have a beginning that stands still."""
    first = plan(b.observed(b.job(SUSPENDED, suspend=True), *LATE), b.NOW)
    status = b.wanted(first.write_ahead)
    [row] = status["attempts"]
    assert (row["attempt"], row["cause"], status["phase"]) == (1, "Suspended", "Suspending")
    later = plan(b.observed(b.job(status, suspend=True), *LATE), b.NOW + timedelta(hours=1))
    assert {action.name for action in later.actions if isinstance(action, Delete)} == {"digits-0-0-1", "digits-0-1-1"}


def test_pods_that_come_late_to_a_job_that_is_resumed_are_its_first_attempt() -> None:
    heard = tuple(b.report(pod) for pod in LATE)
    result = plan(b.observed(b.job(SUSPENDED), *LATE, reports=heard, service=b.service()), b.NOW)
    status = b.wanted(result.status)
    assert (status["attempt"], status["phase"]) == (1, "Running")
    assert b.condition(status, "Suspended")["status"] == "False"


def test_a_job_that_is_deleted_before_it_was_told_is_stopped() -> None:
    going = plan(untold(b.running(0, created=STARTED), deleted=True), b.NOW)
    assert [command.kind for commands in going.commands.values() for command in commands] or going.actions


def test_pods_of_a_later_attempt_are_not_taken_for_the_first() -> None:
    lost = plan(untold(b.running(0, 3, created=STARTED), b.pod(0, 1, phase="Pending", created=STARTED)), b.NOW)
    status = b.wanted(lost.write_ahead)
    assert status["attempt"] == 4
    assert not lost.actions


def test_a_job_of_which_anything_was_told_writes_the_attempt_ahead() -> None:
    told = {"conditions": [], "phase": "Pending", "reason": "QuotaExceeded", "observedGeneration": 1}
    result = plan(b.observed(b.job(told), dry_run=b.accepted(), service=b.service()), b.NOW)
    status = b.wanted(result.write_ahead)
    assert status["attempt"] == 1
    assert b.condition(status, "Accepted")["status"] == "True"
    assert not result.actions, "no pod exists before its attempt is in status"
