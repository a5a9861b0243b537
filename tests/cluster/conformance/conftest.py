"""Every case here gets an API server: the one in memory, or with `--api-server fleet` a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.fleet.instance import Instance
from tests.cluster.conformance.servers import Api, in_memory, on_the_fleet
from tests.support import fleet


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[Instance | None]:
    """The real control plane, where it is asked for."""
    if request.config.getoption("--api-server") == "memory":
        yield None
        return
    with fleet.control_plane() as own:
        fleet.install_crds(own)
        yield own


@pytest.fixture
async def api(control_plane: Instance | None) -> AsyncIterator[Api]:
    """The API server of one case."""
    async with in_memory() if control_plane is None else on_the_fleet(control_plane) as found:
        yield found
