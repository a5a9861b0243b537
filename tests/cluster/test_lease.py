"""At most one replica may begin a mutation at a time, whatever happens to it, to the others and to the API server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.cluster.client import LeadershipLost
from holdfast.cluster.lease import DURATION_S, RENEW_DEADLINE_S, LeaseElector
from holdfast.seams import ApiError, ApiTransport
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until


class House:
    """One API server and some replicas, each of which can be switched off without a word."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.spawner = SeededSpawner()
        self.server = MemoryApiServer(self.clock, self.spawner)
        self.power: dict[str, SeededSpawner] = {}
        self.electors: dict[str, LeaseElector] = {}

    def start(self, name: str, transport: ApiTransport | None = None) -> LeaseElector:
        self.power[name] = SeededSpawner()
        elector = LeaseElector(
            transport or self.server,
            self.clock,
            SeededRandom(len(self.power)),
            self.power[name],
            namespace="system",
            name="operator",
            identity=name,
        )
        self.power[name].spawn(elector.run(), name=name)
        self.electors[name] = elector
        return elector

    def leaders(self) -> list[str]:
        return [name for name, elector in self.electors.items() if elector.leading]

    async def wait_for(self, name: str, limit_s: float = 30) -> float:
        return await run_until(self.clock, lambda: self.leaders() == [name], limit_s=limit_s)

    def lease(self) -> dict[str, object]:
        found = self.server.find("leases", "system", "operator")
        assert found is not None
        spec: dict[str, object] = found["spec"]
        return spec


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    for power in made.power.values():
        await power.stop()
    await made.spawner.stop()


async def test_the_first_leads_and_keeps_leading(house: House) -> None:
    first = house.start("a")
    await house.wait_for("a", 1)
    house.start("b")
    await house.clock.advance(120)
    assert house.leaders() == ["a"]
    assert house.electors["b"].leader == "a"
    first.gate()
    with pytest.raises(LeadershipLost):
        house.electors["b"].gate()


async def test_a_leader_that_dies_is_followed_after_the_duration_and_not_before(house: House) -> None:
    house.start("a")
    await house.wait_for("a", 1)
    house.start("b")
    await house.clock.advance(10)
    await house.power["a"].stop()
    del house.electors["a"]
    took = await house.wait_for("b", 30)
    assert DURATION_S - 3 < took < DURATION_S + 3
    assert house.lease()["leaseTransitions"] == 1


async def test_a_leader_that_stops_hands_over_at_once(house: House) -> None:
    leader = house.start("a")
    await house.wait_for("a", 1)
    house.start("b")
    await house.clock.advance(5)
    stopping = house.spawner.spawn(leader.stop(), name="stop")
    await run_until(house.clock, stopping.done, limit_s=1)
    assert await house.wait_for("b", 5) < 3


async def test_a_leader_without_an_api_server_stops_in_time(house: House) -> None:
    leader = house.start("a")
    await house.wait_for("a", 1)
    told: list[bool] = []
    leader.listen(told.append)
    house.server.faults.latency = lambda method, path: 60.0
    took = await run_until(house.clock, lambda: not leader.leading, limit_s=30)
    assert RENEW_DEADLINE_S - 3 < took <= RENEW_DEADLINE_S
    await house.clock.advance(0.01)
    assert told == [False], "it is told at the deadline, not when the hanging request returns"
    house.server.faults.latency = lambda method, path: 0.0
    await house.wait_for("a", 10)
    assert told == [False, True]


async def test_a_renewal_whose_answer_was_lost_changes_nothing(house: House) -> None:
    house.start("a")
    await house.wait_for("a", 1)
    house.server.faults.lose_answer(matching("PUT"))
    for _ in range(40):
        await house.clock.advance(0.5)
        assert house.leaders() == ["a"]
    assert house.lease()["leaseTransitions"] == 0


async def test_a_lease_that_was_deleted_is_made_anew(house: House) -> None:
    house.start("a")
    await house.wait_for("a", 1)
    house.server.remove("leases", "system", "operator")
    await house.clock.advance(5)
    assert house.leaders() == ["a"]
    assert house.lease()["holderIdentity"] == "a"


async def test_a_lease_that_somebody_else_took_ends_the_leadership(house: House) -> None:
    house.start("a")
    await house.wait_for("a", 1)
    house.server.merge("leases", "system", "operator", {"spec": {"holderIdentity": "thief", "renewTime": "x"}})
    await house.clock.advance(3)
    assert house.leaders() == []
    assert house.electors["a"].leader == "thief"


async def test_a_restarted_replica_takes_its_own_lease_back_at_once(house: House) -> None:
    house.start("a")
    await house.wait_for("a", 1)
    await house.power["a"].stop()
    del house.electors["a"]
    house.start("a")
    assert await house.wait_for("a", 5) < 1


class Flaky:
    """A replica's own way to the API server, which is cut now and then."""

    def __init__(self, server: MemoryApiServer) -> None:
        self.server = server
        self.cut = False

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        if self.cut:
            raise ApiError(0, "Unreachable", "cut off")
        return await self.server.request(method, path, **options)

    def watch(self, *args: Any, **options: Any) -> Any:
        raise AssertionError("an elector watches nothing")


@pytest.mark.parametrize("seed", range(12))
async def test_there_are_never_two_who_may_begin_a_mutation(house: House, seed: int) -> None:
    chance = random.Random(seed)
    ways = {name: Flaky(house.server) for name in "abc"}
    house.server.faults.latency = lambda method, path: chance.choice([0.0, 0.1, 1.0, 3.5, 6.0])
    for name, way in ways.items():
        house.start(name, way)
    led = set()
    for _ in range(600):
        await house.clock.advance(0.5)
        leaders = house.leaders()
        assert len(leaders) <= 1, f"two leaders after {house.clock.elapsed} s"
        led.update(leaders)
        if chance.random() < 0.05:
            way = ways[chance.choice("abc")]
            way.cut = not way.cut
    assert len(led) > 1, "the seed never moved the lease"
