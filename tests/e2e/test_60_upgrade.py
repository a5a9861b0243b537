"""An upgrade of the operator under a running job: nobody's pods are touched, and the reports go on."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

from deploy.demo import installation
from deploy.demo.lab import REPLY_S, Lab
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Runs
from tests.e2e.harness.waiting import until

_REPORTS = re.compile(r"^holdfast_reports_total\{[^}]*\} (?P<count>[0-9.e+]+)$", re.MULTILINE)


def _reports(lab: Lab) -> float:
    """How many reports the present replicas have taken, by their own count."""
    total = 0.0
    for pod in installation.operator_pods(lab):
        with urllib.request.urlopen(f"http://{pod.status.pod_ip}:8080/metrics", timeout=REPLY_S) as answer:
            total += sum(float(found["count"]) for found in _REPORTS.finditer(answer.read().decode()))
    return total


def _authority(lab: Lab) -> Any:
    return lab.core.read_namespaced_secret("holdfast-ca", installation.NAMESPACE, _request_timeout=REPLY_S)


def test_helm_upgrade_under_a_running_job(lab: Lab, runs: Runs) -> None:
    run = runs.plain("upgrade", workers=2, STEPS=150, STEP_SECONDS=0.5, CLIENT=1)
    pods = run.attempt(1, within_s=90)
    run.committed(10, within_s=60)
    operators = {pod.metadata.uid for pod in installation.operator_pods(lab)}
    authority = _authority(lab)
    try:
        installation.install(lab, {"logLevel": "DEBUG"})
        renewed = until(
            "all replicas are new",
            lambda: operators.isdisjoint(pod.metadata.uid for pod in installation.operator_pods(lab)),
            within_s=60,
        )
        assert renewed
        # Every one of these came over a connection that was opened anew, with a leaf of the same authority.
        until("reports go on", lambda: _reports(lab) > 3, within_s=60, explain=run.explain)
        step = min(run.last_step(pod) for pod in pods)
        what = "progress in status goes on"
        until(what, lambda: run.job.status()["progress"]["step"] >= step, within_s=120, explain=run.explain)
    finally:
        installation.install(lab)
    status = run.succeeded(within_s=120)
    assert status["attempt"] == 1
    assert {pod.metadata.uid for pod in run.job.pods()} == {pod.metadata.uid for pod in pods}
    restarts = [one.restart_count for pod in run.job.pods() for one in pod.status.init_container_statuses]
    assert restarts == [0] * len(restarts)
    assert [line["state"] for line in run.job.finals()] == [state_after(150)] * 2
    after = _authority(lab)
    assert (after.metadata.uid, after.data) == (authority.metadata.uid, authority.data)
