"""What reports say, joined into status: progress, commits, health."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from holdfast.api import labels as names
from holdfast.api.wire import Commit, Damage, Health, Outcome, Progress, Report, encode
from holdfast.planning.observed import Received
from holdfast.training.plan import plan
from tests.unit.training import builders as b

PODS = (b.running(0), b.running(1))
LATER = b.NOW + timedelta(seconds=75)


def status(*reports: Received, before: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The status of a running job that is due for a refresh."""
    seen = b.observed(b.job(before or b.attempt_status(), **spec), *PODS, reports=reports, service=b.service())
    return b.wanted(plan(seen, LATER).status)


def commits(*steps: int) -> tuple[Commit, ...]:
    return tuple(Commit(run=1, step=step, committed_at="2026-03-01T12:00:00Z", bytes=5) for step in steps)


def test_commits_are_listed_newest_first_and_only_those_that_are_kept() -> None:
    told = status(b.report(PODS[0], commits=commits(100, 200)), b.report(PODS[1], commits=commits(300, 400)))
    assert [item["step"] for item in told["checkpoint"]["list"]] == [400, 300, 200]
    assert told["checkpoint"]["latest"]["step"] == 400


def test_commits_of_earlier_attempts_stay() -> None:
    first = status(b.report(PODS[0], commits=commits(100)))
    second = status(b.report(PODS[0]), before=first)
    assert second["checkpoint"]["latest"]["step"] == 100


def test_what_was_restored_stands_where_nobody_tells_it_any_more() -> None:
    """Two replicas that both believe to lead, one of them with an old view, would write it to and fro otherwise."""
    first = status(b.report(PODS[0], restored_step=100, commits=commits(100)))
    assert first["checkpoint"]["restoredStep"] == 100
    second = status(b.report(PODS[0], role="Restore"), before=first)
    assert second["checkpoint"]["restoredStep"] == 100


def test_progress_is_that_of_the_worker_who_is_furthest() -> None:
    told = status(
        b.report(PODS[0], progress=Progress(step=41, total=100, loss=0.25, steps_per_second=12.5)),
        b.report(PODS[1], progress=Progress(step=42, total=100)),
    )
    assert told["progress"] == {"step": 42, "total": 100}
    only = status(b.report(PODS[0], progress=Progress(step=41, total=100, loss=0.25, steps_per_second=12.5)))
    assert only["progress"] == {"step": 41, "total": 100, "loss": "0.25", "stepsPerSecond": "12.5"}


def test_progress_is_written_at_most_once_a_minute() -> None:
    report = b.report(PODS[0], progress=Progress(step=41))
    seen = b.observed(b.job(b.attempt_status()), *PODS, reports=(report,), service=b.service())
    early = plan(seen, b.NOW + timedelta(seconds=30))
    assert "progress" not in b.wanted(early.status)
    assert early.requeue_after_s is not None
    assert 30 <= early.requeue_after_s <= 40


def test_a_checkpoint_that_never_completes_is_told_at_once() -> None:
    sick = Health(healthy=False, reason="IncompleteCheckpoint", message="step 100 hangs")
    seen = b.observed(b.job(b.attempt_status()), *PODS, reports=(b.report(PODS[0], health=sick),), service=b.service())
    healthy = b.condition(b.wanted(plan(seen, b.NOW).status), "CheckpointHealthy")
    assert (healthy["status"], healthy["message"]) == ("False", "step 100 hangs")


def test_a_fall_back_of_the_restore_is_told_from_its_last_words() -> None:
    """The sidecar's report has taken the place of the restore step's when the gang runs."""
    damage = Damage(run=1, step=200, object="runs/00000001/steps/000000000200/data/0-1/state", problem="is missing")
    words = encode(Outcome(kind="Restored", run=2, step=100, damages=(damage,))).decode()
    ended = b.container(names.RESTORE_CONTAINER, terminated={"exitCode": 0, "message": words})
    sidecar = b.container(names.SIDECAR_CONTAINER, running={"startedAt": b.stamp(b.NOW)})
    gang = [b.running(slot, 2, initContainerStatuses=[ended, sidecar]) for slot in range(2)]
    starting = b.job(b.attempt_status(2, phase="Starting"))
    reports = tuple(b.report(pod) for pod in gang)
    result = plan(b.observed(starting, *gang, reports=reports, service=b.service(2)), b.NOW)
    status = b.wanted(result.status)
    assert damage.object in b.condition(status, "Restored")["message"]
    assert status["checkpoint"]["restoredStep"] == 100
    assert [event.reason for event in result.events] == ["RestoreFellBack"]
    assert damage.object in result.events[0].note


def test_what_a_tenant_makes_up_harms_nobody() -> None:
    odd = Commit(run=1, step=100, committed_at="yesterday")
    told = status(b.report(PODS[0], commits=(odd, *commits(200)), health=Health(healthy=False, reason="Made Up")))
    assert [item["step"] for item in told["checkpoint"]["list"]] == [200]
    assert b.condition(told, "CheckpointHealthy")["reason"] == "IncompleteCheckpoint"


def test_reports_of_restore_say_nothing_about_progress() -> None:
    told = status(b.report(PODS[0], role="Restore", phase="Restoring"))
    assert "checkpoint" not in told
    assert isinstance(b.report(PODS[0]).report, Report)
