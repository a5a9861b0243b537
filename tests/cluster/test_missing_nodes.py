"""A node that the cache does not hold is gone only where the API server says so."""

from __future__ import annotations

import asyncio

from holdfast.app.missing_nodes import PASS_S, WIDTH, MissingNodes
from holdfast.app.operator import Replica
from holdfast.app.patience import ON_ITS_WAY_S
from holdfast.cluster.client import ApiClient
from holdfast.seams import ApiError
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededRandom, SeededSpawner, run_until
from tests.support.house import House

# That a pod was bound is planned together with what follows; then the node is asked for.
SEEN_S = ON_ITS_WAY_S + 1


async def bound_while_the_nodes_are_not_seen(house: House, *nodes: str) -> Replica:
    """Run a job, silence the watch of nodes, add `nodes`, and bind the job's pods to node n-0."""
    house.job()
    replica = await house.start()
    await house.until(seen=2)
    for watch in house.server.watches:
        watch.silent = watch.silent or watch._target.info.plural == "nodes"
    for name in nodes:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        house.server.put("nodes", {"metadata": {"name": name, "labels": {"pool": "p"}}, "status": ready})
    for name in ("j-0", "j-1"):
        house.server.merge("pods", "ns", name, {"spec": {"nodeName": "n-0"}})
    return replica


def reads(house: House) -> int:
    return sum(1 for method, path in house.server.requests if method == "GET" and path.endswith("/nodes/n-0"))


async def test_a_node_that_is_not_seen_yet_is_read_and_shown(house: House) -> None:
    await bound_while_the_nodes_are_not_seen(house, "n-0")
    await house.clock.advance(SEEN_S)
    assert house.planner.shown[-1].nodes["n-0"].metadata.labels == {"pool": "p"}
    assert reads(house) == 1
    await house.clock.advance(20)
    assert 4 <= reads(house) <= 5, "read again while the cache does not hold it, once in five seconds"


async def test_a_node_that_is_gone_is_not_shown(house: House) -> None:
    await bound_while_the_nodes_are_not_seen(house)
    await house.clock.advance(SEEN_S)
    assert house.planner.shown[-1].pods[0].spec.node_name == "n-0"
    assert "n-0" not in house.planner.shown[-1].nodes


async def test_nothing_is_known_of_a_node_that_cannot_be_read(house: House) -> None:
    house.server.faults.refuse(matching("GET", "/nodes/"), ApiError(503, "Busy", "", retry_after_s=9.0))
    await bound_while_the_nodes_are_not_seen(house)
    await run_until(house.clock, lambda: "n-0" in house.planner.shown[-1].nodes, limit_s=2)
    assert house.planner.shown[-1].nodes["n-0"].status.conditions == ()
    await house.clock.advance(6)
    assert "n-0" not in house.planner.shown[-1].nodes, "the next look has an answer"


async def test_a_thousand_missing_nodes_of_many_jobs_hold_no_pass_up_for_long(house: House) -> None:
    server, clock = house.server, house.clock
    server.faults.latency = lambda method, path: 1.5
    nodes = MissingNodes(ApiClient(server, clock, SeededRandom()), clock, SeededSpawner())
    passes = [nodes.find({f"n-{number}-{node}" for node in range(32)}) for number in range(32)]
    found = asyncio.gather(*passes)
    await clock.advance(1)
    assert len(server.requests) == WIDTH, "the other turns are left to other reads"
    await run_until(clock, found.done, limit_s=60)
    assert clock.elapsed < PASS_S + 1.5
    assert sum(map(len, found.result())) == 32 * 32 - len(server.requests), "who was not asked about is not gone"


async def test_two_passes_ask_once_about_the_same_nodes(house: House) -> None:
    server, clock = house.server, house.clock
    server.faults.latency = lambda method, path: 0.2
    nodes = MissingNodes(ApiClient(server, clock, SeededRandom()), clock, SeededSpawner())
    wanted = {f"n-{node}" for node in range(3 * WIDTH)}
    found = asyncio.gather(nodes.find(wanted), nodes.find(wanted))
    await run_until(clock, found.done, limit_s=10)
    assert not any(found.result())
    assert len(server.requests) == len(wanted)
