"""What all cases on the real cluster share: the cluster itself, a namespace each, and eyes on every pod."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.demo import installation
from deploy.demo.lab import REPLY_S, Lab
from tests.e2e.harness import diagnosis, manifests
from tests.e2e.harness.operator_killer import OperatorKiller
from tests.e2e.harness.pod_history import PodHistory
from tests.e2e.harness.runs import Runs
from tests.e2e.harness.waiting import until

# Seconds that one case may take; the set-up of the session does not count.
_CASE_S = 420
_FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every case here the time that real pods need."""
    for item in items:
        item.add_marker(pytest.mark.timeout(_CASE_S, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Remember that a case failed, so that its namespace is described before it goes."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The cluster with the operator on it; made where it is not there."""
    return installation.ensure(os.environ.get("HOLDFAST_CLUSTER") or "holdfast")


@pytest.fixture(scope="session")
def custom_objects(lab: Lab) -> Any:
    """The official client of custom resources."""
    return lab.custom


@pytest.fixture(scope="session")
def pod_history(lab: Lab) -> Iterator[PodHistory]:
    """Everything that happens to pods of jobs."""
    history = PodHistory(lab)
    yield history
    history.stop()


@pytest.fixture
def namespace(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of its own for each case, with the plain trainer's script in it."""
    name = f"case-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    lab.core.create_namespace({"metadata": {"name": name, "labels": labels}}, _request_timeout=REPLY_S)
    try:
        script = {"metadata": {"name": manifests.SCRIPTS}, "data": manifests.scripts()}
        lab.core.create_namespaced_config_map(name, script, _request_timeout=REPLY_S)
        _wait_for_service_account(lab, name)
        yield name
    finally:
        if request.node.stash.get(_FAILED, False):
            print(diagnosis.of_namespace(lab, name))
            print(diagnosis.of_operator(lab))
        if not os.environ.get("KEEP"):
            lab.core.delete_namespace(name, _request_timeout=REPLY_S)


@pytest.fixture
def runs(lab: Lab, namespace: str, pod_history: PodHistory) -> Runs:
    """Starts jobs in the case's namespace."""
    return Runs(lab, namespace, pod_history)


@pytest.fixture(scope="module")
def operator_under_fire(lab: Lab) -> Iterator[OperatorKiller]:
    """Replicas of the operator are killed at random as long as the module's cases run."""
    killer = OperatorKiller(lab)
    yield killer
    killer.stop()
    installation.wait_ready(lab)


def _wait_for_service_account(lab: Lab, namespace: str) -> None:
    def ask() -> bool:
        names = [item.metadata.name for item in lab.core.list_namespaced_service_account(namespace).items]
        return "default" in names

    until(f"{namespace} has its service account", ask, within_s=30)
