"""How attempts and jobs end: final exit codes, too little memory, and a last checkpoint that takes its time."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.demo import machines
from deploy.demo.lab import Lab
from tests.e2e.harness import manifests, promises
from tests.e2e.harness.operator_killer import OperatorKiller
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Runs

pytestmark = pytest.mark.usefixtures("operator_under_fire")

_SLOW_BYTES = 40_000_000
_BYTES_PER_SECOND = 1_000_000


def test_undisturbed_job_of_two_workers(runs: Runs) -> None:
    run = runs.plain("plain", workers=2, STEPS=40, STEP_SECONDS=0.1, CLIENT=1)
    status = run.succeeded(within_s=120)
    assert status["attempt"] == 1
    assert status["progress"]["step"] == 40
    assert [line["state"] for line in run.job.finals()] == [state_after(40)] * 2
    assert len({pod.spec.node_name for pod in run.job.pods()}) == 2
    # keepLast is 3 by default, and holds for what is committed at the very end, too.
    run.kept(20, 30, 40, within_s=30)


def test_final_exit_code_fails_at_once_and_keeps_the_commits(runs: Runs) -> None:
    change = {"recovery": {"finalExitCodes": [42]}}
    run = runs.plain("final", change, STEPS=40, FAIL_AT=15, FAIL_CODE=42)
    status = run.phase("Failed", within_s=90)
    assert status["reason"] == "FinalExitCode"
    assert "42" in status["message"]
    assert status["attempt"] == 1
    assert (run.row(1)["cause"], run.row(1)["exitCode"]) == ("FinalExitCode", 42)
    run.committed(10, within_s=30)
    promises.check(run.job, runs.history)


def test_restarts_are_used_up(runs: Runs) -> None:
    # Attempt 1 fails after step 15, and no other attempt is allowed.
    change = {"recovery": {"maxRestarts": 0}}
    run = runs.plain("restarts", change, STEPS=40, FAIL_AT=15, FAIL_CODE=7)
    status = run.phase("Failed", within_s=90)
    assert status["reason"] == "MaxRestartsExceeded"
    assert (run.row(1)["cause"], run.row(1)["exitCode"]) == ("WorkerFailed", 7)


def test_out_of_memory_kill_is_named_and_the_job_goes_on(runs: Runs) -> None:
    manifest = manifests.plain(
        "memory", runs.lab.images.holdfast, runs.namespace, STEPS=40, FAIL_AT=15, FAIL_BY="memory"
    )
    manifests.trainer_of(manifest)["resources"]["limits"] = {"memory": "96Mi"}
    run = runs.start(manifest)
    status = run.succeeded(within_s=180)
    row = run.row(1)
    assert row["cause"] == "OutOfMemory"
    assert "resources.limits.memory" in row["message"]
    assert run.restored_steps(int(status["attempt"])) == [10]
    assert [line["state"] for line in run.job.finals()] == [state_after(40)]


def test_final_checkpoint_that_takes_long_is_committed_before_success(lab: Lab, runs: Runs) -> None:
    """The trainer saves at its very end and exits 0; the upload takes more than 30 s, the grace of many defaults."""
    run = runs.plain("slow-end", STEPS=20, STEP_SECONDS=0.5, SAVE_EVERY=20, SIZE=_SLOW_BYTES)
    (pod,) = run.attempt(1, within_s=60)
    machines.throttle(lab.kube, pod, "trainer", _BYTES_PER_SECOND)
    status = run.succeeded(within_s=180)
    assert status["attempt"] == 1
    assert status["checkpoint"]["latest"]["step"] == 20
    (ended,) = run.job.pods()
    finished = {status.name: status.state.terminated.finished_at for status in _statuses(ended)}
    assert (finished["holdfast-sidecar"] - finished["trainer"]).total_seconds() > 30


def test_the_operator_was_killed_meanwhile(operator_under_fire: OperatorKiller) -> None:
    assert operator_under_fire.kills > 0


def _statuses(pod: Any) -> list[Any]:
    return [*pod.status.init_container_statuses, *pod.status.container_statuses]
