"""What a replica that takes the lead must not do: believe old reports, or act on what its caches do not show yet."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from holdfast.api.wire import Report
from holdfast.app.operator import Replica
from tests.cluster.test_replica import House
from tests.support.clock import run_until


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    for power in made.power:
        await power.stop()
        assert not power.failures


async def lose_and_lead_again(house: House, replica: Replica) -> None:
    house.server.faults.down = True
    await run_until(house.clock, lambda: not replica.elector.leading, limit_s=15)
    await house.clock.advance(1)
    house.server.faults.down = False
    await run_until(house.clock, lambda: replica.elector.leading, limit_s=30)


async def test_reports_of_an_earlier_term_are_forgotten(house: House) -> None:
    house.job()
    replica = await house.start()
    await house.until(seen=2)
    pod = house.server.all("pods")[0]["metadata"]
    replica.inbox.put(
        Report(
            role="Sidecar", namespace="ns", job="j", job_uid="", attempt=1, slot="0-0", pod_name=pod["name"],
            pod_uid=pod["uid"], sequence=1, phase="Watching",
        )
    )  # fmt: skip
    await house.clock.advance(1)
    assert house.planner.shown[-1].reports
    await lose_and_lead_again(house, replica)
    await house.clock.advance(5)
    assert house.planner.shown[-1].reports == {}


async def test_plans_are_told_since_when_this_replica_leads(house: House) -> None:
    house.job()
    replica = await house.start()
    await house.until(seen=2)
    first = house.planner.shown[-1].leading_since
    assert first is not None
    await lose_and_lead_again(house, replica)
    again = house.clock.now()
    await house.clock.advance(5)
    second = house.planner.shown[-1].leading_since
    assert second is not None
    assert first < second
    assert abs((second - again).total_seconds()) < 1
