"""Helm is built from its module where it is not there yet, which takes longer than a test may."""

from __future__ import annotations

import pytest

from deploy.chart import helm


@pytest.fixture(scope="session", autouse=True)
def helm_is_there() -> None:
    helm()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/unit/chart" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(60, func_only=True))
