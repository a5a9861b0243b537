"""Deadlines, expiry and stalls of real jobs, with the operator killed at random meanwhile."""

from __future__ import annotations

import time

import pytest

from deploy.demo.lab import Lab
from tests.e2e.harness import promises
from tests.e2e.harness.operator_killer import OperatorKiller
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Runs
from tests.e2e.harness.waiting import stays, until

pytestmark = pytest.mark.usefixtures("operator_under_fire")


def test_deadline_is_a_last_checkpoint_and_then_a_failure(runs: Runs) -> None:
    # The cadence is never reached: what is committed was asked for at the deadline. One worker, since workers of the
    # plain trainer do not agree on the step at which they serve such a request.
    change = {"activeDeadline": "30s", "checkpoint": {"cadence": {"everySteps": 5000}}}
    run = runs.plain("late", change, STEPS=2000, STEP_SECONDS=0.3, CLIENT=1)
    run.attempt(1, within_s=60)
    status = run.phase("Failed", within_s=180)
    assert status["reason"] == "DeadlineExceeded"
    assert "activeDeadline is 30s" in status["message"]
    assert run.row(1)["cause"] == "DeadlineExceeded"
    assert 30 <= status["activeSeconds"] < 90
    assert not [pod for pod in run.job.pods() if pod.status.phase == "Running"]
    kept = run.job.committed()
    assert 0 < kept < 2000
    assert status["checkpoint"]["latest"]["step"] == kept
    assert f"Step {kept} is committed" in status["message"]
    promises.check(run.job, runs.history)

    # What was committed is where a job of the same name and destination goes on.
    run.job.delete()
    until("the failed job is gone", lambda: not run.job.exists(), within_s=60)
    again = runs.plain("late", {"activeDeadline": "1h"}, STEPS=kept + 20, STEP_SECONDS=0.1, CLIENT=1)
    until("it has begun", lambda: int(again.job.status().get("attempt") or 0) > 0, within_s=120)
    assert again.succeeded(within_s=180)["phase"] == "Succeeded"
    assert [line["state"] for line in again.job.finals()] == [state_after(kept + 20)]


def test_finished_job_goes_after_its_time_and_its_commits_stay(runs: Runs, lab: Lab) -> None:
    run = runs.plain("short", {"ttlAfterFinished": "30s"}, STEPS=20, STEP_SECONDS=0.05)
    prefix = run.job.prefix()
    run.succeeded(within_s=120)
    ended = time.monotonic()
    stays("the object is kept for its time", run.job.exists, for_s=20)
    until("the object is gone", lambda: not run.job.exists(), within_s=90)
    assert time.monotonic() - ended > 25
    run.gone(within_s=60)
    newest = lab.bucket.newest(prefix)
    assert newest is not None
    assert newest.step == 20


def test_gang_that_stands_still_is_restarted(runs: Runs) -> None:
    change = {"recovery": {"stallTimeout": "30s"}}
    knobs: dict[str, object] = {"STEPS": 40, "STEP_SECONDS": 0.2, "CLIENT": 1, "STALL_AT": 15, "STALL_ATTEMPT": 1}
    run = runs.plain("still", change, workers=2, **knobs)
    run.attempt(2, within_s=240)
    row = run.row(1)
    assert row["cause"] == "Stalled"
    assert "The newest is step 15" in row["message"]
    status = run.succeeded(within_s=180)
    assert status["restarts"] == 1
    assert [line["state"] for line in run.job.finals()] == [state_after(40)] * 2


def test_the_operator_was_killed_meanwhile(operator_under_fire: OperatorKiller) -> None:
    assert operator_under_fire.kills > 0
