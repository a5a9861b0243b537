"""`spec.activeDeadline`: what counts, when it has passed, and how the job is then stopped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.wire import Outcome, Progress
from holdfast.planning.observed import CustomObject
from holdfast.planning.plan import Delete, Plan
from holdfast.training.plan import plan
from tests.unit.training import builders as b

LIMIT = {"activeDeadline": "1h"}
HOUR = timedelta(hours=1)


def held(status: dict[str, Any], **spec: Any) -> CustomObject:
    return b.job(status, **{**LIMIT, **spec})


def began(ago: timedelta, **more: Any) -> dict[str, Any]:
    """The status of a job whose first attempt began that long ago."""
    return b.attempt_status(attempts=[{"attempt": 1, "startedAt": b.stamp(b.NOW - ago)}], **more)


def over(**row: Any) -> dict[str, Any]:
    """The status of a job whose deadline is written down as passed."""
    first = {"attempt": 1, "startedAt": b.stamp(b.NOW - HOUR), "endedAt": b.stamp(b.NOW)}
    return b.attempt_status(
        phase="Stopping", attempts=[{**first, "cause": "DeadlineExceeded", **row}], activeSeconds=3600
    )


def test_that_it_has_passed_is_written_down_before_anything_is_stopped() -> None:
    result = plan(b.observed(held(began(HOUR)), b.running(0), b.running(1)), b.NOW)
    status = b.wanted(result.write_ahead)
    assert (status["phase"], status["reason"]) == ("Stopping", "DeadlineExceeded")
    assert status["attempts"][0]["cause"] == "DeadlineExceeded"
    assert status["activeSeconds"] == 3600
    assert not result.actions
    assert not b.condition(status, "Failed"), "the last checkpoint comes first"


@pytest.mark.parametrize(("left_s", "told"), [(1.0, False), (0.0, True), (-500.0, True)])
def test_it_passes_at_its_moment_and_not_before(left_s: float, told: bool) -> None:
    seen = b.observed(held(began(HOUR - timedelta(seconds=left_s))), b.running(0), b.running(1))
    result = plan(seen, b.NOW)
    assert (result.write_ahead is not None) == told
    if not told:
        assert result.requeue_after_s == left_s, "the job is looked at again at that moment"


def test_the_workers_are_asked_for_a_checkpoint_and_then_deleted() -> None:
    pods = (b.running(0), b.running(1))
    told = tuple(b.report(pod, progress=Progress(step=12)) for pod in pods)
    ask = plan(b.observed(held(over()), *pods, reports=told), b.NOW)
    assert not ask.actions
    assert ask.write_ahead is not None
    assert ask.write_ahead.wanted == ask.write_ahead.observed, "the pods stay: what they tell can wait"
    order = ask.commands["pod-0-1-1"][0]
    assert (order.kind, order.deadline) == ("Drain", "2026-03-01T12:10:00Z"), "the whole flushTimeout"
    done = tuple(b.report(pod, acknowledged=(order.id,), phase="Flushed") for pod in pods)
    result = plan(b.observed(held(over()), *pods, reports=done), b.NOW)
    assert [action.name for action in result.actions if isinstance(action, Delete)] == ["digits-0-0-1", "digits-0-1-1"]
    assert b.wanted(result.write_ahead)["attempt"] == b.wanted(ask.write_ahead)["attempt"], "and no attempt follows"


def test_it_fails_when_no_pod_runs_any_more_and_says_what_is_kept() -> None:
    latest = {"step": 700, "run": 1, "committedAt": b.stamp(b.NOW), "bytes": 1, "manifest": "gs://bucket/run/x"}
    status = {**over(), "checkpoint": {"latest": latest, "list": [latest]}}
    result = plan(b.observed(held(status)), b.NOW)
    ended = b.wanted(result.write_ahead)
    assert (ended["phase"], ended["reason"]) == ("Failed", "DeadlineExceeded")
    failed = b.condition(ended, "Failed")
    assert (failed["status"], failed["reason"]) == ("True", "DeadlineExceeded")
    for told in ("active for 1h,", "activeDeadline is 1h", "Step 700 is committed", "longer deadline"):
        assert told in failed["message"]
    assert ended["checkpoint"] == status["checkpoint"]
    assert [event.reason for event in result.events] == ["DeadlineExceeded"]


@pytest.mark.parametrize("spec", [{"activeDeadline": "9h"}, {"activeDeadline": None}, {"suspend": True}])
def test_once_written_down_nothing_takes_it_back(spec: dict[str, Any]) -> None:
    result = plan(b.observed(held(over(), **spec)), b.NOW)
    assert b.wanted(result.write_ahead)["reason"] == "DeadlineExceeded"


def test_a_job_that_succeeds_at_its_deadline_has_succeeded() -> None:
    words = Outcome(kind="Finished", last_complete=100, committed=100)
    result = plan(b.observed(held(began(2 * HOUR)), b.succeeded(0, words), b.succeeded(1, words)), b.NOW)
    assert b.wanted(result.status)["phase"] == "Succeeded"


def test_a_suspended_job_is_not_judged_and_fails_only_when_it_is_resumed() -> None:
    row = {"attempt": 1, "startedAt": b.stamp(b.NOW - 3 * HOUR), "endedAt": b.stamp(b.NOW - HOUR), "cause": "Suspended"}
    status = b.attempt_status(phase="Suspended", attempts=[row], activeSeconds=7200)
    asleep = plan(b.observed(held(status, suspend=True)), b.NOW)
    assert b.wanted(asleep.status)["phase"] == "Suspended"
    resumed = plan(b.observed(held(status), dry_run=b.accepted()), b.NOW)
    ended = b.wanted(resumed.write_ahead)
    assert (ended["phase"], ended["attempt"]) == ("Failed", 1), "no attempt is begun"
    longer = plan(b.observed(held(status, activeDeadline="3h"), dry_run=b.accepted()), b.NOW)
    assert b.wanted(longer.write_ahead)["attempt"] == 2


def test_waits_for_capacity_and_between_restarts_count() -> None:
    retry = b.stamp(b.NOW + timedelta(minutes=5))
    rows = [
        {"attempt": 1, "startedAt": b.stamp(b.NOW - HOUR), "endedAt": b.stamp(b.NOW), "cause": "WorkerFailed"},
        {"attempt": 2, "startedAt": b.stamp(b.NOW)},
    ]
    status = b.attempt_status(
        2, created=False, phase="Restarting", attempts=rows, activeSeconds=3599, nextRetryAt=retry
    )
    assert plan(b.observed(held(status)), b.NOW).requeue_after_s == 1.0, "sooner than the back-off"
    result = plan(b.observed(held(status)), b.NOW + timedelta(seconds=1))
    assert b.wanted(result.write_ahead)["attempts"][1]["cause"] == "DeadlineExceeded"


def test_a_gang_that_broke_just_before_is_not_asked_for_a_checkpoint_that_cannot_be() -> None:
    rows = [
        {"attempt": 1, "startedAt": b.stamp(b.NOW - HOUR), "endedAt": b.stamp(b.NOW), "cause": "WorkerFailed"},
        {"attempt": 2, "startedAt": b.stamp(b.NOW), "endedAt": b.stamp(b.NOW), "cause": "DeadlineExceeded"},
    ]
    status = b.attempt_status(2, created=False, phase="Stopping", attempts=rows, activeSeconds=3600)
    survivor = b.running(0)
    order = plan(b.observed(held(status), survivor, reports=(b.report(survivor),)), b.NOW).commands["pod-0-1-1"][0]
    assert order.deadline == "2026-03-01T12:00:15Z"


def test_without_a_deadline_nothing_is_looked_for() -> None:
    lively = plan(b.observed(held(began(1000 * HOUR), activeDeadline=None), b.running(0), b.running(1)), b.NOW)
    assert lively.write_ahead is None


class Story:
    """One job whose plans are carried out; every plan is made from its status alone, as after a restart."""

    def __init__(self, limit_s: int) -> None:
        self.now = b.NOW
        self.status: dict[str, Any] = {}
        self.spec: dict[str, Any] = {
            "activeDeadline": f"{limit_s}s",
            "recovery": {"maxRestarts": 100, "backoff": {"initial": "0s"}},
        }
        self.plan(dry_run=b.accepted())

    def plan(self, *pods: Any, **more: Any) -> Plan:
        result = plan(b.observed(b.job(self.status, **self.spec), *pods, service=b.service(9999), **more), self.now)
        for write in (result.write_ahead, result.status):
            if write is not None:
                self.status = b.wanted(write)
        return result

    @property
    def attempt(self) -> int:
        """The first attempt is told together with the first thing worth telling."""
        return int(self.status.get("attempt", 1))

    def pods(self) -> tuple[Any, Any]:
        return b.running(0, self.attempt, created=b.NOW), b.running(1, self.attempt, created=b.NOW)

    def crash(self) -> None:
        self.plan(self.pods()[0], b.failed(1, self.attempt, at=self.now, created=b.NOW))

    def sleep(self, seconds: int) -> None:
        self.spec["suspend"] = True
        self.plan(*self.pods())
        self.now += timedelta(seconds=seconds)
        self.plan()
        self.spec["suspend"] = False
        self.plan(dry_run=b.accepted())

    def over(self) -> bool:
        self.plan(*self.pods())
        return any(row.get("cause") == "DeadlineExceeded" for row in self.status.get("attempts", ()))


@given(
    st.integers(60, 400),
    st.lists(st.tuples(st.sampled_from(["run", "crash", "sleep"]), st.integers(1, 50)), max_size=30),
)
def test_whatever_happens_it_passes_when_the_active_time_is_used_up(
    limit_s: int, events: list[tuple[str, int]]
) -> None:
    story, active = Story(limit_s), 0
    for kind, seconds in events:
        if kind == "sleep":
            story.sleep(seconds)
        else:
            story.now += timedelta(seconds=seconds)
            active += seconds
            if active < limit_s and kind == "crash":
                story.crash()
        assert story.over() == (active >= limit_s)
        if active >= limit_s:
            return
