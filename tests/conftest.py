"""Settings and options that all tests share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy with a cluster makes any single example slow: time limits are per test, in pyproject.toml.
# The same examples every time, so that a red run can be told from an unlucky one; `--hypothesis-profile=explore` looks
# for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("holdfast", settings.get_profile("explore"), derandomize=True)
settings.load_profile("holdfast")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--api-server",
        choices=("memory", "fleet"),
        default="memory",
        help="what tests/cluster/conformance runs on: the API server in memory, or a real one that is brought up",
    )
