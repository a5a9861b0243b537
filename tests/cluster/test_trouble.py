"""What a replica makes of requests that fail: it comes again, slower and slower, and calls no failure a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from holdfast.seams import ApiError
from tests.cluster.test_replica import House
from tests.support.apiserver_faults import matching


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    for power in made.power:
        await power.stop()
        assert not power.failures


async def test_a_question_that_cannot_be_answered_is_asked_slower_and_slower(house: House) -> None:
    """A plan that wants to be made again at once gets its way only while nothing fails."""
    house.planner.ask = True
    house.planner.requeue_after_s = 0.0
    broken = ApiError(500, "InternalError", "failed calling webhook")
    house.server.faults.refuse(matching("POST", "/pods"), broken, times=100_000)
    house.job()
    await house.start()
    await house.clock.advance(300)
    assert 5 <= len(house.planner.shown) <= 25
    assert all(observed.dry_run is None for observed in house.planner.shown)
