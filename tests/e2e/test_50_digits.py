"""The main job: JAX on two nodes loses a worker to SIGKILL and ends with the parameters of an undisturbed run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.runs import Run, Runs

pytestmark = pytest.mark.usefixtures("operator_under_fire")

_STEPS = 300


def _final(run: Run) -> dict[str, Any]:
    """The last line of all workers, which must be of one mind."""
    finals = run.job.finals()
    assert len(finals) == 2, run.explain()
    assert finals[0]["digest"] == finals[1]["digest"]
    return finals[0]


def test_digits_survive_a_killed_worker(runs: Runs) -> None:
    # Checkpoints every 50 steps.
    undisturbed = runs.digits("undisturbed", STEPS=_STEPS)
    undisturbed.succeeded(within_s=240)
    wanted = _final(undisturbed)
    assert wanted["step"] == _STEPS

    run = runs.digits("disturbed", STEPS=_STEPS, STEP_SLEEP=0.05)
    pods = run.attempt(1, within_s=90)
    assert len({pod.spec.node_name for pod in pods}) == 2
    run.committed(100, within_s=120)
    run.kill_trainer(pods[1])
    status = run.succeeded(within_s=240)
    found = _final(run)

    assert (found["digest"], found["loss"]) == (wanted["digest"], wanted["loss"])
    row = run.row(1)
    assert row["cause"] == "WorkerFailed"
    assert row["exitCode"] == 137
    assert row["slot"] == "0-1"
    assert status["attempt"] == 2
    restored = run.restored_steps(2)
    assert restored[0] == restored[1]
    assert restored[0] is not None
    assert restored[0] >= 100
    assert status["checkpoint"]["latest"]["step"] == _STEPS


def test_a_save_that_hangs_on_all_hosts_is_named(runs: Runs) -> None:
    """Orbax in its default setting and one directory per host: the job would stand still for ten minutes."""
    run = runs.start(manifests.orbax_defaults("orbax-defaults", runs.lab.images.trainer, runs.namespace))
    run.attempt(1, within_s=90)
    condition = run.condition("CheckpointHealthy", "False", within_s=180)
    assert condition["reason"] == "IncompleteCheckpoint"
    assert "holdfast.client.orbax" in condition["message"]
    assert run.job.committed() == 0
