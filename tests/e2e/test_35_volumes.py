"""The kinds of checkpoint volume: killed jobs go on from each of them, and a volume that cannot be had says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.demo.lab import REPLY_S, Lab
from deploy.kind import faults
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Fields, Run, Runs
from tests.e2e.harness.waiting import stays, until

_LOST_NODE = 2
_SIZE: Fields = {"requests": {"storage": "1Gi"}}


def _volume(**kind: Any) -> Fields:
    return {"checkpoint": {"volume": kind}}


def _claims(run: Run) -> dict[str, Any]:
    lab, namespace = run.job.lab, run.job.namespace
    items = lab.core.list_namespaced_persistent_volume_claim(namespace, _request_timeout=REPLY_S).items
    return {str(item.metadata.name): item for item in items}


@contextmanager
def _cordoned(lab: Lab, node: str) -> Iterator[None]:
    """No new pod is put on the node meanwhile."""
    lab.core.patch_node(node, {"spec": {"unschedulable": True}}, _request_timeout=REPLY_S)
    try:
        yield
    finally:
        lab.core.patch_node(node, {"spec": {"unschedulable": False}}, _request_timeout=REPLY_S)


@pytest.fixture
def node_comes_back(lab: Lab) -> Iterator[str]:
    """The name of the node that a case may take away; it is brought back whatever happens."""
    yield lab.workers()[_LOST_NODE - 1]
    faults.bring_back(lab.kube, _LOST_NODE)


def _went_on(run: Run, steps: int, workers: int = 1) -> None:
    restored = run.restored_steps(2)
    assert restored == [restored[0]] * workers
    assert restored[0] is not None
    assert restored[0] >= 20
    run.succeeded(within_s=150)
    assert [line["state"] for line in run.job.finals()] == [state_after(steps)] * workers


def test_volume_in_memory(runs: Runs) -> None:
    change = _volume(memory={"sizeLimit": "32Mi"})
    run = runs.plain("in-memory", change, STEPS=60, STEP_SECONDS=0.3, SIZE=1_000_000)
    (pod,) = run.attempt(1, within_s=90)
    run.committed(20, within_s=60)
    assert [line["filesystem"] for line in run.job.said(pod, "start")] == ["tmpfs"]
    run.kill_trainer(pod)
    run.attempt(2, within_s=120)
    _went_on(run, 60)


def test_claim_of_a_worker_follows_it_to_another_node_and_goes_with_the_job(lab: Lab, runs: Runs) -> None:
    change = _volume(claimTemplate={"storageClassName": "standard", "resources": _SIZE})
    run = runs.plain("claim", change, STEPS=60, STEP_SECONDS=0.3)
    (pod,) = run.attempt(1, within_s=120)
    run.committed(20, within_s=60)
    ((name, first),) = _claims(run).items()
    assert name == "checkpoints-claim-0-0"
    with _cordoned(lab, pod.spec.node_name):
        run.kill_trainer(pod)
        (moved,) = run.attempt(2, within_s=120)
        assert moved.spec.node_name != pod.spec.node_name
    assert [claim.metadata.uid for claim in _claims(run).values()] == [first.metadata.uid]
    _went_on(run, 60)
    assert _claims(run), "it is the job's until the job goes"
    run.job.delete()
    until("the claim is gone", lambda: not _claims(run), within_s=60, explain=run.explain)


def test_storage_class_that_does_not_exist(runs: Runs) -> None:
    change = _volume(claimTemplate={"storageClassName": "no-such", "resources": _SIZE})
    run = runs.plain("no-class", change)
    status = run.reason("StorageClassNotFound", within_s=60)
    assert "storage class no-such, which does not exist" in status["message"]
    run.job.delete()
    until("the claim is gone", lambda: not _claims(run), within_s=60, explain=run.explain)


def test_shared_claim_of_two_workers(lab: Lab, runs: Runs) -> None:
    """The claim comes later than the job. Worker 0 writes for both; worker 1 is killed."""
    # Otherwise the scheduler may put both workers where the claim's volume was made.
    apart = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"holdfast.dev/job-name": "shared"}},
    }
    change = _volume(sharedClaim={"claimName": "models"})
    change["template"] = {"spec": {"topologySpreadConstraints": [apart]}}
    run = runs.plain("shared", change, workers=2, STEPS=60, STEP_SECONDS=0.3, WRITER="0-0")
    status = run.reason("ClaimNotFound", within_s=30)
    assert (status["phase"], run.job.condition("Accepted")["status"]) == ("Pending", "False")
    stays("no pod is made", lambda: run.job.pods() == [], for_s=3, explain=run.explain)
    spec = {"storageClassName": "standard", "accessModes": ["ReadWriteMany"], "resources": _SIZE}
    claim = {"metadata": {"name": "models"}, "spec": spec}
    lab.core.create_namespaced_persistent_volume_claim(runs.namespace, claim, _request_timeout=REPLY_S)
    pods = run.attempt(1, within_s=150)
    assert len({pod.spec.node_name for pod in pods}) == 2
    run.committed(20, within_s=60)
    run.kill_trainer(pods[1])
    run.attempt(2, within_s=120)
    _went_on(run, 60, workers=2)
    for commit in lab.bucket.commits(run.job.prefix()):
        assert [part["slot"] for part in lab.bucket.parts(commit)] == ["0-0"]
    run.job.delete()
    run.gone(within_s=60)
    assert list(_claims(run)) == ["models"], "a claim of the user's stays"


def test_claim_on_a_node_that_is_gone_is_told_and_can_be_given_up(lab: Lab, runs: Runs, node_comes_back: str) -> None:
    change = _volume(claimTemplate={"storageClassName": "node-local", "resources": _SIZE})
    others = [node for node in lab.workers() if node != node_comes_back]
    with _cordoned(lab, others[0]):
        run = runs.plain("stranded", {**change, "recovery": {"nodeLostTimeout": "10s"}}, STEPS=80, STEP_SECONDS=0.3)
        (pod,) = run.attempt(1, within_s=120)
    assert pod.spec.node_name == node_comes_back
    run.committed(20, within_s=60)
    (first,) = _claims(run).values()
    faults.power_off(lab.kube, _LOST_NODE)
    status = run.reason("VolumeOutOfReach", within_s=120)
    assert f"on node {node_comes_back} or in its zone, and that node is gone" in status["message"]
    assert "delete pvc checkpoints-stranded-0-0" in status["message"]
    stays("it waits", lambda: run.job.status()["attempt"] == 2, for_s=5, explain=run.explain)
    # The message says what to do when the node will not come back.
    lab.core.delete_namespaced_persistent_volume_claim(first.metadata.name, runs.namespace, _request_timeout=REPLY_S)
    (moved,) = run.attempt(2, within_s=120)
    assert moved.spec.node_name in others
    _went_on(run, 80)
    assert run.row(1)["cause"] == "NodeLost"
    (second,) = _claims(run).values()
    assert second.metadata.uid != first.metadata.uid
