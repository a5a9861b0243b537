"""Nodes that are switched off or cut off, with the operator killed at random. Last, because they change the cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from deploy.demo.lab import Lab
from deploy.kind import faults
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Run, Runs

pytestmark = pytest.mark.usefixtures("operator_under_fire")

_NODE = 2


@pytest.fixture
def node_comes_back(lab: Lab) -> Iterator[str]:
    """The name of the node that a case may take away; it is brought back whatever happens."""
    yield lab.workers()[_NODE - 1]
    faults.bring_back(lab.kube, _NODE)


def _started(runs: Runs, name: str, node: str) -> Run:
    run = runs.plain(name, {"recovery": {"nodeLostTimeout": "10s"}}, workers=2, STEPS=150, STEP_SECONDS=0.4)
    pods = run.attempt(1, within_s=120)
    assert node in {pod.spec.node_name for pod in pods}
    run.committed(20, within_s=90)
    return run


def _survived(run: Run, node: str) -> None:
    status = run.succeeded(within_s=240)
    assert status["attempt"] == 2
    assert run.row(1)["cause"] == "NodeLost"
    assert run.row(1)["nodes"] == [node]
    # The program is not to blame.
    assert not status.get("restarts")
    first, second = run.restored_steps(2)
    assert first == second
    assert first is not None
    assert first >= 20
    assert [line["state"] for line in run.job.finals()] == [state_after(150)] * 2


def test_node_off(lab: Lab, runs: Runs, node_comes_back: str) -> None:
    run = _started(runs, "off", node_comes_back)
    faults.power_off(lab.kube, _NODE)
    pods = run.attempt(2, within_s=150)
    assert node_comes_back not in {pod.spec.node_name for pod in pods}
    _survived(run, node_comes_back)


def test_node_partitioned(lab: Lab, runs: Runs, node_comes_back: str) -> None:
    run = _started(runs, "cut", node_comes_back)
    faults.partition(lab.kube, _NODE)
    pods = run.attempt(2, within_s=180)
    assert node_comes_back not in {pod.spec.node_name for pod in pods}
    # The worker of attempt 1 still runs over there. Its node comes back while attempt 2 is at work.
    faults.bring_back(lab.kube, _NODE)
    time.sleep(5)
    _survived(run, node_comes_back)
    fences = {run_ for run_, _, _ in lab.bucket.rounds(run.job.prefix())}
    assert len(fences) == 2
