"""How an attempt ends, what is told as its cause, and what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.api.wire import Outcome
from holdfast.planning.observed import Pod
from holdfast.planning.plan import Delete
from holdfast.training.plan import plan
from tests.unit.training import builders as b


def after(*pods: Pod, **more: Any) -> dict[str, Any]:
    """The status written ahead when an attempt of these pods has ended."""
    status = more.pop("status", b.attempt_status())
    return b.wanted(plan(b.observed(b.job(status, **more.pop("spec", {})), *pods, **more), b.NOW).write_ahead)


def cause(status: dict[str, Any], attempt: int = 1) -> str:
    return next(str(row["cause"]) for row in status["attempts"] if row["attempt"] == attempt)


def disrupted(reason: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason}]


@pytest.mark.parametrize(
    ("victim", "told", "counts"),
    [
        (b.failed(1, code=1), "WorkerFailed", True),
        (b.failed(1, code=137, reason="OOMKilled"), "OutOfMemory", True),
        (b.pod(1, phase="Failed", reason="Evicted", message="low on disk"), "Evicted", True),
        (b.running(1, conditions=disrupted("PreemptionByScheduler")), "Preempted", False),
        (b.running(1, conditions=disrupted("EvictionByEvictionAPI")), "Evicted", False),
        (b.running(1, conditions=disrupted("TerminationByKubelet")), "Preempted", False),
        (b.running(1, deleting=b.NOW, grace=600), "PodDeleted", True),
        (b.running(1, node="gone"), "NodeLost", False),
        (b.pod(1, phase="Failed"), "Unknown", True),
        (b.restore_failed(1, Outcome(kind="Interrupted", message="killed"), 1), "RestoreFailed", True),
    ],
)
def test_each_cause_is_told_and_counted_as_it_should(victim: Pod, told: str, counts: bool) -> None:
    status = after(b.running(0), victim)
    assert cause(status) == told
    assert status["attempt"] == 2, "the next attempt is written ahead of its pods"
    assert status["phase"] == "Restarting"
    assert status.get("restarts", 0) == (1 if counts else 0)
    assert ("nextRetryAt" in status) == counts


def test_what_befell_the_machine_beats_what_the_program_did() -> None:
    survivor = b.failed(0, code=75, at=b.NOW - timedelta(seconds=5))
    assert cause(after(survivor, b.running(1, node="gone"))) == "NodeLost"


def test_of_equal_causes_the_earliest_is_told() -> None:
    first = b.failed(1, code=3, at=b.NOW - timedelta(seconds=2))
    status = after(b.failed(0, code=75, at=b.NOW), first)
    assert status["attempts"][0]["exitCode"] == 3
    assert status["attempts"][0]["slot"] == "0-1"


def test_a_pod_that_vanished_ends_the_attempt_only_if_it_was_seen() -> None:
    assert cause(after(b.running(0))) == "PodDeleted"
    starting = b.job(b.attempt_status(created=False, phase="Starting"))
    result = plan(b.observed(starting, b.running(0), service=b.service()), b.NOW)
    assert b.created(result) == ["digits-0-1-1"]


def test_an_unready_node_is_given_up_after_its_time_and_not_before() -> None:
    def seen(since: float) -> Any:
        sick = {"n1": b.node("n1"), "n2": b.node("n2", unready_since=b.NOW - timedelta(seconds=since))}
        pods = (b.running(0), b.running(1, node="n2"))
        return plan(b.observed(b.job(b.attempt_status()), *pods, nodes=sick, service=b.service()), b.NOW)

    early = seen(20)
    assert early.write_ahead is None
    assert early.waiting == "NodeUnreachable"
    assert early.requeue_after_s == 10, "to tell the wait, and later to give the node up"
    assert cause(b.wanted(seen(60).write_ahead)) == "NodeLost"


def test_final_exit_codes_fail_the_job_at_once() -> None:
    status = after(b.running(0), b.failed(1, code=42), spec={"recovery": {"finalExitCodes": [42]}})
    assert status["phase"] == "Failed"
    assert status["attempt"] == 1
    assert b.condition(status, "Failed")["reason"] == "FinalExitCode"


@pytest.mark.parametrize(
    ("kind", "code"), [("PrefixTaken", 65), ("NoRestorableCheckpoint", 66), ("RestoreRefused", 67)]
)
def test_what_restore_cannot_do_fails_the_job(kind: Any, code: int) -> None:
    status = after(b.restore_failed(0, Outcome(kind=kind, message="why"), code), b.pod(1, phase="Pending"))
    assert b.condition(status, "Failed") == {**b.condition(status, "Failed"), "reason": kind, "message": "why"}


def test_superseded_goes_on_behind_the_newest_attempt_of_the_bucket() -> None:
    outcome = Outcome(kind="Superseded", message="attempt 7 is newer", seen_attempt=7, seen_uid=b.UID)
    status = after(b.restore_failed(0, outcome, 64), b.pod(1, phase="Pending"))
    assert status["attempt"] == 8
    assert status.get("restarts", 0) == 0


def test_back_off_doubles_and_restarts_run_out() -> None:
    recovery = {"maxRestarts": 2, "backoff": {"initial": "10s", "max": "15s"}}
    waits = []
    times: list[str] = []
    for _ in range(2):
        before = b.attempt_status(restartTimes=times)
        status = after(b.running(0), b.failed(1), status=before, spec={"recovery": recovery})
        waits.append(status["nextRetryAt"])
        times = status["restartTimes"]
    assert waits == [b.stamp(b.NOW + timedelta(seconds=10)), b.stamp(b.NOW + timedelta(seconds=15))]
    out = b.attempt_status(restartTimes=times)
    status = after(b.failed(0, code=75), b.failed(1), status=out, spec={"recovery": recovery})
    assert b.condition(status, "Failed")["reason"] == "MaxRestartsExceeded"


def test_restarts_outside_the_window_are_forgotten() -> None:
    old = [b.stamp(b.NOW - timedelta(hours=25))]
    status = after(b.running(0), b.failed(1), status=b.attempt_status(restartTimes=old))
    assert status["restartTimes"] == [b.stamp(b.NOW)]


def test_the_back_off_is_waited_for() -> None:
    later = b.stamp(b.NOW + timedelta(seconds=30))
    waiting = b.job(b.attempt_status(2, created=False, phase="Restarting", nextRetryAt=later))
    result = plan(b.observed(waiting, service=b.service()), b.NOW)
    assert not result.actions
    assert result.requeue_after_s == 30
    due = plan(b.observed(waiting, service=b.service()), b.NOW + timedelta(seconds=30))
    assert b.created(due) == ["digits-0-0-2", "digits-0-1-2"]


def test_older_pods_are_stopped_before_new_ones_exist() -> None:
    restarting = b.job(b.attempt_status(2, created=False, phase="Restarting"))
    result = plan(b.observed(restarting, b.failed(0), b.failed(1), service=b.service()), b.NOW)
    assert [(a.name, a.uid, a.grace_s) for a in result.actions if isinstance(a, Delete)] == [
        ("digits-0-0-1", "pod-0-1-1", 30),
        ("digits-0-1-1", "pod-1-1-1", 30),
    ]
    assert not b.created(result)


def test_a_cause_is_made_more_precise_while_the_old_pods_can_be_seen() -> None:
    restarting = b.job(
        b.attempt_status(
            2,
            created=False,
            phase="Restarting",
            restarts=1,
            restartTimes=[b.stamp(b.NOW)],
            nextRetryAt=b.stamp(b.NOW + timedelta(seconds=60)),
        )
    )
    result = plan(b.observed(restarting, b.failed(0), b.running(1, node="gone")), b.NOW)
    status = b.wanted(result.status)
    assert cause(status) == "NodeLost"
    assert status["attempts"][0]["nodes"] == ["gone"]
    assert status["restarts"] == 0
    assert "nextRetryAt" not in status
    assert Delete(*_pod_of("digits-0-1-1", "pod-1-1-1"), 0) in result.actions, "its node is gone: by force"


def test_a_worker_that_only_lost_its_peer_is_not_the_one_to_name() -> None:
    at_once = b.failed(0, code=75, at=b.NOW - timedelta(seconds=1)), b.failed(1, code=137)
    status = b.wanted(plan(b.observed(b.job(b.attempt_status()), *at_once), b.NOW).write_ahead)
    assert [status["attempts"][0][key] for key in ("exitCode", "slot")] == [137, "0-1"]

    first = b.attempt_status(2, created=False, phase="Restarting", restarts=1, restartTimes=[b.stamp(b.NOW)])
    first["attempts"][0] |= {"exitCode": 75, "slot": "0-0"}
    later = plan(b.observed(b.job(first), b.failed(0, code=75), b.failed(1, code=137)), b.NOW)
    status = b.wanted(later.status)
    assert [status["attempts"][0][key] for key in ("exitCode", "slot")] == [137, "0-1"]
    assert status["restarts"] == 1, "it counts all the same"


def _pod_of(name: str, uid: str) -> tuple[Any, str, str, str]:
    from holdfast.planning.plan import PODS

    return PODS, "team", name, uid
