"""A fleet of its own with a real API server, scheduler and controllers, simulated nodes, and the operator's process."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator

import pytest

from deploy.fleet import controlplane
from deploy.fleet.instance import Instance
from deploy.fleet.simulated import parse
from deploy.kind.paths import cache
from tests.fleet.ground import Bindings, Ground
from tests.fleet.operator_process import NAMESPACE, OperatorProcess

POOLS = ("v6e:4x4=4", "h100=4")
_CASE_S = 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every case here the time that a scheduler needs."""
    for item in items:
        item.add_marker(pytest.mark.timeout(_CASE_S, func_only=True))


@pytest.fixture(scope="session")
def fleet() -> Iterator[Instance]:
    """The control plane and its nodes, made anew and taken away."""
    name = os.environ.get("HOLDFAST_FLEET") or "holdfast-tests"
    controlplane.down(name, cache())
    try:
        own = controlplane.up(name, [parse(one) for one in POOLS], cache())
        ground = Ground(own.kubeconfig, "default")
        ground.install()
        ground.create_namespace(NAMESPACE)
        yield own
    finally:
        if not os.environ.get("KEEP"):
            controlplane.down(name, cache())


@pytest.fixture(scope="session")
def operator(fleet: Instance) -> Iterator[OperatorProcess]:
    """The operator, running."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = OperatorProcess(fleet, port)
    try:
        process.start()
        yield process
    finally:
        process.kill()


@pytest.fixture
def ground(fleet: Instance, operator: OperatorProcess, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """A namespace for the case; nothing of it is left, and no two slices ever held one pool."""
    made = Ground(fleet.kubeconfig, f"case-{secrets.token_hex(4)}")
    made.create_namespace(made.namespace)
    bindings = Bindings(made.core, made.pools)
    try:
        yield made
    finally:
        bindings.stop()
        for job in made.jobs():
            made.delete(job["metadata"]["name"])
        made.core.delete_collection_namespaced_pod(made.namespace, grace_period_seconds=0)
    assert bindings.shared == []
