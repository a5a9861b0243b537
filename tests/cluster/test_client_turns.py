"""The client's turns in virtual time: held for one attempt only, and what a long wait for the next one means."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from holdfast.cluster.client import DEADLINE_S, ApiClient, LeadershipLost
from holdfast.cluster.turns import MUTATIONS, READS
from holdfast.planning.plan import PODS
from holdfast.seams import ApiError
from tests.cluster.test_client import client, clock, finish, server
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until, settle
from tests.support.reflecting import pod

__all__ = ["client", "clock", "server"]


def placed(name: str, namespace: str) -> dict[str, Any]:
    made = pod(name)
    return {**made, "metadata": {**made["metadata"], "namespace": namespace}}


async def test_creates_that_the_server_puts_off_keep_nobody_else_from_it(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    busy = ApiError(429, "TooManyRequests", "", retry_after_s=2.0)
    server.faults.refuse(matching("POST", "/busy/"), busy, times=MUTATIONS)
    put_off = asyncio.gather(*(client.create(PODS, "busy", placed(f"p-{n}", "busy")) for n in range(MUTATIONS)))
    await clock.advance(0.5)
    assert len(server.requests) == MUTATIONS
    await finish(clock, client.create(PODS, "ns", pod("a")))
    assert clock.elapsed < 1
    await run_until(clock, put_off.done, limit_s=30)
    assert len(server.all("pods")) == MUTATIONS + 1


async def in_a_line_after_a_failure(server: MemoryApiServer, clock: VirtualClock, client: ApiClient, call: Any) -> Any:
    """Make a call that fails once and then stands behind all that take long; return its outcome."""
    server.faults.latency = lambda method, path: 1.9 if "slow" in path else 0.0
    task = SeededSpawner().spawn(call, name="call")
    await settle()
    assert len(server.requests) == 1
    rounds = 4
    slow: list[Coroutine[Any, Any, object]] = [
        client.create(PODS, "slow", placed(f"p-{n}", "slow")) for n in range(rounds * MUTATIONS)
    ]
    slow += [client.get(PODS, "slow", "p") for _ in range(rounds * READS)]
    others = asyncio.gather(*slow, return_exceptions=True)
    await run_until(clock, lambda: task.done() and others.done(), limit_s=30)
    return task


async def test_a_mutation_whose_next_turn_comes_after_its_deadline_is_not_sent_again(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    server.faults.refuse(matching("POST", "/ns/"), ApiError(503, "Busy", "busy"))
    task = await in_a_line_after_a_failure(server, clock, client, client.create(PODS, "ns", pod("a")))
    with pytest.raises(ApiError, match="busy"):
        task.result()
    assert server.requests.count(("POST", PODS.collection("ns"))) == 1


async def test_a_read_whose_next_turn_comes_late_is_sent_all_the_same(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    server.put("pods", pod("a"))
    server.faults.refuse(matching("GET", "/ns/"), ApiError(503, "Busy", "busy"))
    task = await in_a_line_after_a_failure(server, clock, client, client.get(PODS, "ns", "a"))
    assert task.result()["metadata"]["name"] == "a"


async def test_the_gate_is_asked_after_the_wait_for_a_turn(server: MemoryApiServer, clock: VirtualClock) -> None:
    leads_until = clock.monotonic() + 1.0
    sent: list[float] = []

    def gate() -> None:
        if clock.monotonic() >= leads_until:
            raise LeadershipLost("over")
        sent.append(clock.monotonic())

    client = ApiClient(server, clock, SeededRandom(), gate=gate)
    server.faults.refuse(matching("POST", "/ns/"), ApiError(503, "Busy", "busy"))
    task = await in_a_line_after_a_failure(server, clock, client, client.create(PODS, "ns", pod("a")))
    with pytest.raises(LeadershipLost):
        task.result()
    assert len([call for call in server.requests if call[0] == "POST"]) == len(sent) == MUTATIONS + 1


async def test_a_lost_answer_is_judged_even_if_the_line_for_reads_is_long(
    server: MemoryApiServer, clock: VirtualClock, client: ApiClient
) -> None:
    server.put("pods", pod("a", owner="o"))
    server.faults.latency = lambda method, path: 1.9 if "slow" in path else 0.0
    others = asyncio.gather(*(client.get(PODS, "slow", "p") for _ in range(4 * READS)))
    made = await finish(clock, client.create(PODS, "ns", pod("a", owner="o")))
    assert made.metadata.owner_references[0].uid == "o"
    assert clock.elapsed > DEADLINE_S
    await others
