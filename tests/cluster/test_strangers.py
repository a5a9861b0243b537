"""Pods that Holdfast did not make keep node pools from being free, and cost nothing where they hold no chips."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from holdfast.planning.observed import Observed
from holdfast.planning.plan import Plan
from holdfast.training.pools import NODE_POOL
from tests.support.house import Document, House, TwoPods


class Waits(TwoPods):
    """Waits for ever and remembers which pools it was shown as occupied."""

    def plan(self, observed: Observed, now: datetime) -> Plan:
        self.shown.append(observed)
        return Plan(waiting="pool")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    made.planner = Waits()
    made.server.put("nodes", {"metadata": {"name": "n-0", "labels": {NODE_POOL: "pool"}}})
    made.job()
    yield made
    for power in made.power:
        await power.stop()
        assert not power.failures


def pod(name: str, *, node: str = "n-0", chips: int = 4, labels: dict[str, str] | None = None) -> Document:
    limits = {"google.com/tpu": str(chips)} if chips else {"cpu": "1"}
    containers = [{"name": "main"}, {"name": "other", "resources": {"limits": limits}}]
    return {
        "metadata": {"name": name, "namespace": "x", "labels": labels or {}},
        "spec": {"containers": containers, **({"nodeName": node} if node else {})},
    }


def occupied(house: House) -> dict[str, str]:
    return dict(house.planner.shown[-1].occupied_pools)


async def test_a_pod_with_chips_occupies_its_pool_until_it_ends(house: House) -> None:
    house.server.put("pods", pod("theirs"))
    await house.start()
    await house.clock.advance(2)
    assert occupied(house) == {"pool": "pod x/theirs"}
    house.server.merge("pods", "x", "theirs", {"status": {"phase": "Succeeded"}}, status=True)
    await house.clock.advance(2)
    assert occupied(house) == {}


async def test_who_waits_is_woken_when_one_comes_and_goes(house: House) -> None:
    await house.start()
    await house.clock.advance(2)
    assert occupied(house) == {}
    house.server.put("pods", pod("theirs", node=""))
    await house.clock.advance(2)
    assert occupied(house) == {}, "it is not bound"
    house.server.merge("pods", "x", "theirs", {"spec": {"nodeName": "n-0"}})
    await house.clock.advance(2)
    assert occupied(house) == {"pool": "pod x/theirs"}
    house.server.remove("pods", "x", "theirs")
    await house.clock.advance(2)
    assert occupied(house) == {}


async def test_what_holds_no_chips_is_not_kept(house: House) -> None:
    house.server.put("pods", pod("web", chips=0))
    house.server.put("pods", pod("done"))
    house.server.merge("pods", "x", "done", {"status": {"phase": "Failed"}}, status=True)
    house.server.put("pods", pod("ours", labels={"holdfast.dev/job-uid": "u"}))
    replica = await house.start()
    await house.clock.advance(2)
    assert occupied(house) == {}
    assert len(replica.watched.strangers.cache) == 0
    house.server.put("pods", pod("late", chips=0))
    await house.clock.advance(2)
    assert len(replica.watched.strangers.cache) == 0


async def test_a_name_of_ours_does_not_make_a_stranger_ours(house: House) -> None:
    """The stranger is called as the job is, in the same namespace."""
    theirs = pod("j")
    theirs["metadata"]["namespace"] = "ns"
    house.server.put("pods", theirs)
    await house.start()
    await house.clock.advance(2)
    assert occupied(house) == {"pool": "pod ns/j"}
