"""The faults of the in-memory API server do what they say: a fault that does nothing would make every test green."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededSpawner, VirtualClock, run_until
from tests.support.reflecting import pod

PODS = "/api/v1/namespaces/ns/pods"


class Bench:
    """A server and the answers to what was asked, in the order in which they came."""

    def __init__(self) -> None:
        self.clock, self.spawner = VirtualClock(), SeededSpawner()
        self.server = MemoryApiServer(self.clock, self.spawner)
        self.came: list[tuple[str, Any]] = []

    def ask(self, name: str, method: str, path: str, document: Any = None, **options: Any) -> asyncio.Task[None]:
        async def one() -> None:
            body = None if document is None else orjson.dumps(document)
            try:
                answer: Any = orjson.loads(await self.server.request(method, path, body=body, **options))
            except ApiError as error:
                answer = error
            self.came.append((name, answer))

        return self.spawner.spawn(one(), name=name)

    async def all_of(self, *tasks: asyncio.Task[None]) -> list[str]:
        await run_until(self.clock, lambda: all(task.done() for task in tasks), limit_s=60)
        return [name for name, _ in self.came]

    def follow(self, since: str = "") -> list[tuple[str, str]]:
        """Watch pods into the list that is returned; the end of the watch is its last entry."""
        seen: list[tuple[str, str]] = []

        async def read() -> None:
            query = {"resourceVersion": since or str(self.server.store.version), "watch": "1"}
            try:
                async with self.server.watch(PODS, query=query, idle_timeout_s=30) as stream:
                    async for line in stream:
                        event = orjson.loads(line)
                        seen.append((event["type"], event["object"]["metadata"].get("name", "")))
            except ApiError as error:
                seen.append(("error", error.reason))
            else:
                seen.append(("end", ""))

        self.spawner.spawn(read(), name="watch")
        return seen


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.spawner.stop()


async def test_a_held_request_is_overtaken(bench: Bench) -> None:
    bench.server.faults.hold_request(matching("POST"), 2.0)
    first = bench.ask("held", "POST", PODS, pod("a", labels={"by": "first"}))
    second = bench.ask("swift", "POST", PODS, pod("a", labels={"by": "second"}))
    assert await bench.all_of(first, second) == ["swift", "held"]
    assert bench.came[1][1].reason == "AlreadyExists"
    assert bench.server.all("pods")[0]["metadata"]["labels"] == {"by": "second"}


async def test_a_held_request_arrives_after_its_caller_gave_up(bench: Bench) -> None:
    bench.server.faults.hold_request(matching("POST"), 9.0)
    await bench.all_of(bench.ask("held", "POST", PODS, pod("a"), timeout_s=4.0))
    assert bench.came[0][1].reason == "Timeout"
    assert bench.clock.elapsed == pytest.approx(4.0)
    assert bench.server.all("pods") == []
    await bench.clock.advance(6)
    assert len(bench.server.all("pods")) == 1


async def test_a_held_request_arrives_after_its_caller_died(bench: Bench) -> None:
    bench.server.faults.hold_request(matching("POST"), 2.0)
    caller = bench.ask("held", "POST", PODS, pod("a"))
    await bench.clock.advance(1)
    caller.cancel()
    await bench.clock.advance(2)
    assert len(bench.server.all("pods")) == 1
    assert bench.came == []


async def test_held_answers_come_in_another_order_than_things_happened(bench: Bench) -> None:
    bench.server.faults.hold_answer(matching("POST"), 2.0)
    first = bench.ask("first", "POST", PODS, pod("a"))
    await bench.clock.advance(0.1)
    assert len(bench.server.all("pods")) == 1
    second = bench.ask("second", "DELETE", f"{PODS}/a")
    assert await bench.all_of(first, second) == ["second", "first"]
    assert bench.server.all("pods") == []


async def test_a_repeated_request_is_carried_out_twice(bench: Bench) -> None:
    bench.server.faults.repeat(matching("POST"))
    await bench.all_of(bench.ask("twice", "POST", PODS, pod("a")))
    assert bench.came[0][1].reason == "AlreadyExists"
    assert len(bench.server.all("pods")) == 1
    assert [method for method, _ in bench.server.requests] == ["POST", "POST"]


async def test_reads_that_allow_it_are_answered_from_the_past(bench: Bench) -> None:
    bench.server.put("pods", pod("old"))
    await bench.clock.advance(30)
    new = bench.server.put("pods", pod("new"))
    bench.server.remove("pods", "ns", "old")
    bench.server.faults.lag_reads(20.0)
    cached = {"resourceVersion": "0"}
    fresh = {"resourceVersion": new["metadata"]["resourceVersion"]}
    for name, query in (("consistent", {}), ("any", cached), ("new enough", fresh)):
        await bench.all_of(bench.ask(name, "GET", PODS, query=query))
    listed = {name: [item["metadata"]["name"] for item in answer["items"]] for name, answer in bench.came}
    assert listed == {"consistent": ["new"], "any": ["old"], "new enough": ["new", "old"]}
    await bench.all_of(bench.ask("one", "GET", f"{PODS}/old", query=cached))
    assert bench.came[-1][1]["metadata"]["name"] == "old"
    await bench.clock.advance(20)
    await bench.all_of(bench.ask("later", "GET", f"{PODS}/old", query=cached))
    assert bench.came[-1][1].reason == "NotFound"


async def test_watches_are_spoiled_as_asked(bench: Bench) -> None:
    bench.server.faults.watch("closed")
    closed = bench.follow()
    await bench.clock.advance(0)
    bench.server.faults.watch("silent", matching(part="/services"))
    bench.server.faults.watch("silent", matching(part="/pods"))
    silent = bench.follow()
    await bench.clock.advance(0)
    sound = bench.follow()
    await bench.clock.advance(0)
    bench.server.put("pods", pod("a"))
    await bench.clock.advance(31)
    assert (closed, silent, sound) == (
        [("end", "")],
        [("error", "Silent")],
        [("ADDED", "a"), ("error", "Silent")],
    )


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("doubled", [("ADDED", "a"), ("ADDED", "a"), ("DELETED", "a"), ("DELETED", "a")]),
        ("swapped", [("DELETED", "a"), ("ADDED", "a")]),
    ],
)
async def test_events_come_twice_or_in_the_wrong_order(bench: Bench, kind: Any, seen: list[tuple[str, str]]) -> None:
    bench.server.faults.watch(kind)
    events = bench.follow()
    await bench.clock.advance(0)
    bench.server.put("pods", pod("a"))
    bench.server.remove("pods", "ns", "a")
    await bench.clock.advance(5)
    assert events == seen
