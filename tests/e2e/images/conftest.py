from __future__ import annotations

import pytest

from tests.e2e.images.containers import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine with both images."""
    return Engine()
