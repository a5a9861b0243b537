"""The bucket goes away for a minute: training goes on, nothing restarts, and the commits catch up."""

from __future__ import annotations

import time

import pytest

from deploy.demo.lab import Lab
from tests.e2e.harness.outage import scale_bucket
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Run, Runs
from tests.e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator_under_fire")

_AWAY_S = 60.0


def _steps(run: Run) -> int:
    return min(run.last_step(pod) for pod in run.job.current_pods())


def test_bucket_away_for_a_minute(lab: Lab, runs: Runs) -> None:
    run = runs.plain("outage", workers=2, STEPS=200, STEP_SECONDS=0.5)
    run.committed(10, within_s=120)
    scale_bucket(lab, 0)
    began, before = time.monotonic(), _steps(run)
    try:
        until(
            "the outage is told",
            lambda: run.job.condition("CheckpointStoreReady").get("reason") == "StoreUnavailable",
            within_s=_AWAY_S,
            explain=run.explain,
        )
        assert run.job.condition("CheckpointStoreReady")["status"] == "False"
        time.sleep(max(0.0, _AWAY_S - (time.monotonic() - began)))
        assert _steps(run) > before + 40, "training must not wait for the bucket"
    finally:
        scale_bucket(lab, 1)
    reached = _steps(run) // 10 * 10
    run.committed(reached, within_s=90)
    status = run.succeeded(within_s=180)
    assert status["attempt"] == 1
    assert run.job.condition("CheckpointStoreReady")["status"] == "True"
    assert [line["state"] for line in run.job.finals()] == [state_after(200)] * 2
