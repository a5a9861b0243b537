"""Requests in a line, over real sockets: nothing stands before the Lease, and nobody's time is used up by waiting."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from holdfast.cluster.client import ApiClient
from holdfast.cluster.lease import LeaseElector
from holdfast.cluster.transport import LEASE_CONNECTIONS, OTHER_CONNECTIONS, REQUEST_CONNECTIONS, HttpTransport
from holdfast.cluster.turns import LISTS, MUTATIONS, READS, Turns
from holdfast.planning.plan import NODES, PODS
from holdfast.reports.tokens import REVIEW_EVERY_S
from holdfast.seams import ApiError
from holdfast.seams.real import SystemClock, SystemRandom, TaskSpawner
from tests.support.house import House
from tests.support.processes import until
from tests.support.reflecting import pod
from tests.unit.cluster.test_transport import Site, access, site

__all__ = ["site"]

FLOOD = 512


class Slow:
    """Answers everything but leases after a while, and notes how many it had at once, by what they were."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.renewals = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "/leases" in request.path:
            self.renewals += request.method == "PUT"
            body = await request.json() if request.can_read_body else None
            return web.json_response(body or {"metadata": {}, "spec": {}})
        last = request.path.rpartition("/")[2]
        kind = "mutation" if request.method != "GET" else "list" if last == "pods" else request.path.split("/")[-2]
        for what in (kind, "all"):
            self.now[what] += 1
            self.most[what] = max(self.most[what], self.now[what])
        await asyncio.sleep(self.seconds)
        for what in (kind, "all"):
            self.now[what] -= 1
        return web.json_response({"metadata": {"name": last}, "items": []})


@pytest.fixture
async def transport(site: Site) -> AsyncIterator[HttpTransport]:
    async with HttpTransport(access(site)) as made:
        yield made


async def ended(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Cancel tasks and return what they came to."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_lease_is_renewed_whatever_stands_in_the_line_for_requests(
    site: Site,
    transport: HttpTransport,
) -> None:
    slow = Slow(60.0)
    site.handler = slow.answer
    names = [f"/api/v1/nodes/n-{number}" for number in range(FLOOD)]
    flood = [asyncio.ensure_future(transport.request("GET", name, timeout_s=60)) for name in names]
    async with HttpTransport(access(site), connections=LEASE_CONNECTIONS) as own:
        elector = LeaseElector(
            own, SystemClock(), SystemRandom(), TaskSpawner(), namespace="system", name="l", identity="me"
        )
        run = asyncio.ensure_future(asyncio.sleep(0))
        try:
            await until(lambda: slow.most["all"] >= REQUEST_CONNECTIONS)
            run = asyncio.ensure_future(elector.run())
            # Taken, and renewed while everything else waits.
            await until(lambda: slow.renewals >= 3)
            assert elector.leading
            assert slow.most["all"] == REQUEST_CONNECTIONS
        finally:
            _, *outcomes = await ended(run, *flood)
    assert not [one for one in outcomes if isinstance(one, bytes)], "nobody of the flood was answered meanwhile"


async def test_each_kind_of_request_has_its_turns_and_waiting_uses_up_no_time(
    site: Site,
    transport: HttpTransport,
) -> None:
    slow = Slow(0.2)
    site.handler = slow.answer
    turns, clock = Turns(), SystemClock()
    one, other = (ApiClient(transport, clock, SystemRandom(), deadline_s=2.0, turns=turns) for _ in range(2))
    asked: dict[Callable[[ApiClient, str], Coroutine[Any, Any, object]], int] = {
        lambda client, name: client.get(NODES, "", name): READS * 12,
        lambda client, name: client.list_headers(PODS, "ns", f"a={name}"): LISTS * 12,
        lambda client, name: client.create(PODS, "ns", pod(name)): MUTATIONS * 12,
    }
    calls = [ask((one, other)[n % 2], f"o-{n}") for ask, times in asked.items() for n in range(times)]
    began = clock.monotonic()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert not [error for error in outcomes if isinstance(error, BaseException)]
    assert clock.monotonic() - began > 2.0, "the last ones waited longer than a whole deadline"
    assert slow.most == {"nodes": READS, "list": LISTS, "mutation": MUTATIONS, "all": READS + LISTS + MUTATIONS}


async def test_a_flood_of_reads_leaves_connections_for_what_needs_no_turn(
    site: Site,
    transport: HttpTransport,
) -> None:
    slow = Slow(1.0)
    site.handler = slow.answer
    client = ApiClient(transport, SystemClock(), SystemRandom())
    flood = [asyncio.ensure_future(client.get(NODES, "", f"n-{n}")) for n in range(FLOOD)]
    await until(lambda: slow.now["nodes"] >= READS)
    try:
        await asyncio.gather(*(transport.request("GET", f"/x/{n}", timeout_s=10) for n in range(OTHER_CONNECTIONS)))
    finally:
        outcomes = await ended(*flood)
    assert slow.most["nodes"] == READS
    assert not [error for error in outcomes if isinstance(error, ApiError)]


async def test_there_are_connections_for_all_that_needs_no_turn() -> None:
    replica = await House().start()
    lists = len(replica.watched.followed())
    answered_within = inspect.signature(HttpTransport.request).parameters["timeout_s"].default
    reviews = answered_within / REVIEW_EVERY_S
    keys, authority = 1, 1
    assert lists + reviews + keys + authority <= OTHER_CONNECTIONS
    await replica.stop()
