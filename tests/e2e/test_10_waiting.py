"""Jobs that cannot start say why, start by themselves once they can, and leave nothing behind when they are deleted."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deploy.demo.job import Job
from deploy.demo.lab import REPLY_S, Lab
from deploy.kind import addons
from tests.e2e.harness import diagnosis, manifests
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Run, Runs
from tests.e2e.harness.waiting import stays, until


def _trainer_began(run: Run) -> bool:
    return any(
        status.name == "trainer" and (status.state.running or status.state.terminated)
        for pod in run.job.pods()
        for status in pod.status.container_statuses or []
    )


def test_image_that_does_not_exist(runs: Runs) -> None:
    manifest = manifests.plain("no-image", "localhost/holdfast-absent:1", runs.namespace)
    run = runs.start(manifest)
    status = run.reason("ImagePullFailed", within_s=60)
    assert status["phase"] == "Starting"
    assert "localhost/holdfast-absent:1" in status["message"]
    assert status["attempt"] == 1
    # It waits; it does not use up restarts.
    stays("attempt 1 waits", lambda: run.job.status()["attempt"] == 1, for_s=5, explain=run.explain)
    run.job.delete()
    run.gone(within_s=30)


def test_bucket_that_does_not_exist_is_told_before_the_trainer_starts(runs: Runs, lab: Lab) -> None:
    bucket = f"late-{runs.namespace}"
    change = {"checkpoint": {"destination": f"gs://{bucket}/no-bucket"}}
    run = runs.plain("no-bucket", change, STEPS=20, STEP_SECONDS=0.05)
    status = run.reason("BucketNotFound", within_s=60)
    assert bucket in status["message"]
    condition = run.job.condition("CheckpointStoreReady")
    assert (condition["status"], condition["reason"]) == ("False", "BucketNotFound")
    assert not _trainer_began(run)
    assert status["attempt"] == 1

    addons.create_bucket(lab.bucket.url, bucket)
    status = run.phase("Succeeded", within_s=90)
    assert status["attempt"] == 1
    assert run.job.condition("CheckpointStoreReady")["status"] == "True"
    assert [line["state"] for line in run.job.finals()] == [state_after(20)]


def _left(lab: Lab, namespace: str) -> dict[str, list[str]]:
    listings: dict[str, Any] = {
        "pods": lab.core.list_namespaced_pod,
        "services": lab.core.list_namespaced_service,
        "claims": lab.core.list_namespaced_persistent_volume_claim,
    }
    found = {
        kind: [str(item.metadata.name) for item in ask(namespace, _request_timeout=REPLY_S).items]
        for kind, ask in listings.items()
    }
    return {kind: names for kind, names in found.items() if names}


@pytest.mark.parametrize("framework", ["Plain", "JAX"])
def test_deletion_in_mid_start_leaves_nothing_behind(framework: str, runs: Runs, lab: Lab) -> None:
    """Each of these jobs is deleted a little later in its start than the one before."""
    for number, seconds in enumerate((0.0, 0.2, 0.5, 1.0, 2.0, 3.5)):
        name = f"short-{number}"
        manifest = manifests.plain(name, lab.images.holdfast, runs.namespace, workers=2, STEPS=1000)
        run = runs.start(manifest, {"runtime": {"framework": framework}})
        time.sleep(seconds)
        run.job.delete()
    until(
        "nothing is left",
        lambda: not _left(lab, runs.namespace),
        within_s=90,
        explain=lambda: f"{_left(lab, runs.namespace)}\n{diagnosis.of_job(Job(lab, runs.namespace, 'short-5'))}",
    )
    # Nor does anything come back.
    stays("nothing comes back", lambda: not _left(lab, runs.namespace), for_s=5)
    assert runs.history.problems(runs.namespace) == []
