"""A reflector keeps its cache equal to the API server, whatever happens to lists and watches."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from holdfast.seams import ApiError
from tests.support.apiserver_faults import matching
from tests.support.clock import run_until
from tests.support.reflecting import World, pod


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.spawner.stop()


async def follow(world: World, *, within_s: float = 60) -> float:
    """Wait until the cache shows exactly what the server holds."""
    return await run_until(
        world.clock,
        lambda: world.cache.synced and world.names() == world.truth() and _versions_match(world),
        limit_s=within_s,
    )


def _versions_match(world: World) -> bool:
    return [item.metadata.resource_version for item in world.cache.values()] == [
        item["metadata"]["resourceVersion"] for item in world.server.all("pods")
    ]


def lists(world: World) -> int:
    return sum(1 for request in world.server.requests if request == ("GET", "/api/v1/pods"))


def watches(world: World) -> int:
    return sum(1 for method, _ in world.server.requests if method == "WATCH")


async def test_a_list_in_pages_then_a_watch(world: World) -> None:
    for number in range(8):
        world.server.put("pods", pod(f"p-{number}"))
    world.start()
    await follow(world)
    assert lists(world) == 3

    world.server.put("pods", pod("p-9"))
    world.server.merge("pods", "ns", "p-1", {"status": {"phase": "Running"}}, status=True)
    world.server.remove("pods", "ns", "p-0")
    await follow(world)
    assert lists(world) == 3
    assert [kind for kind, _, _ in world.changes[-3:]] == ["added", "modified", "deleted"]


async def test_a_relist_tells_of_deletions_that_nobody_saw(world: World) -> None:
    for name in ("a", "b", "c"):
        world.server.put("pods", pod(name))
    world.start()
    await follow(world)
    world.server.faults.refuse(matching("WATCH"), ApiError(410, "Expired", "too old"))
    watch = world.server.watches[0]
    watch.silent = True
    world.server.remove("pods", "ns", "b")
    world.server.remove("pods", "ns", "c")
    reborn = world.server.put("pods", pod("c"))
    watch.tear()
    await follow(world)
    assert ("deleted", "b", world.changes[1][2]) in world.changes
    # The name c was used again: the old object is told as deleted, the new one as added.
    assert [kind for kind, name, _ in world.changes if name == "c"] == ["added", "deleted", "added"]
    assert world.changes[-1][2] == reborn["metadata"]["uid"]


@pytest.mark.parametrize("code", [410, 500, 403])
async def test_an_error_event_ends_in_a_list(world: World, code: int) -> None:
    world.server.put("pods", pod("a"))
    world.start()
    await follow(world)
    world.server.watches[0].fail(code, "Trouble")
    world.server.put("pods", pod("b"))
    await follow(world)
    await run_until(world.clock, lambda: lists(world) == 2, limit_s=60)


async def test_gone_while_listing_begins_the_list_anew(world: World) -> None:
    for number in range(8):
        world.server.put("pods", pod(f"p-{number}"))
    compactions = 0

    def compact(method: str, path: str) -> float:
        nonlocal compactions
        if method == "GET" and compactions < 4:
            compactions += 1
            world.server.store.version += 1
            world.server.store.compact()
        return 0.1

    world.server.faults.latency = compact
    world.start()
    await follow(world)
    assert len(world.names()) == 8


async def test_a_silent_watch_is_opened_again(world: World) -> None:
    world.server.put("pods", pod("a"))
    world.start()
    await follow(world)
    world.server.watches[0].silent = True
    world.server.put("pods", pod("b"))
    took = await follow(world, within_s=120)
    assert 60 < took < 95
    assert lists(world) == 1, "the version was still good: no list is needed"


async def test_the_age_of_a_watch_shows_its_silence(world: World) -> None:
    world.start()
    await follow(world)
    world.server.faults.down = True
    world.server.watches[0].tear()
    await world.clock.advance(40)
    assert world.reflector.silence_s() == pytest.approx(40, abs=1)
    world.server.faults.down = False
    world.server.put("pods", pod("a"))
    await run_until(world.clock, lambda: world.reflector.silence_s() < 1, limit_s=60)


async def test_a_server_that_closes_at_once_is_not_hammered(world: World) -> None:
    world.start()
    await follow(world)
    end = world.clock.elapsed + 60

    while world.clock.elapsed < end:
        for watch in list(world.server.watches):
            watch.end()
        await world.clock.advance(0.05)
    assert watches(world) < 15
    world.server.put("pods", pod("late"))
    await follow(world)


async def test_one_odd_object_stops_nothing(world: World) -> None:
    world.server.put("pods", pod("good"))
    world.server.put("pods", pod("odd"))
    world.start()
    await follow(world)
    world.server.merge("pods", "ns", "odd", {"status": {"phase": ["not", "a", "string"]}}, status=True)
    world.server.put("pods", pod("later"))
    await run_until(world.clock, lambda: "later" in world.names(), limit_s=10)
    assert world.reflector.odd_objects == 1
    assert world.names() == ["good", "later", "odd"], "the version before the odd one stays"

    world.server.watches[0].fail(410, "Expired")
    await run_until(world.clock, lambda: world.reflector.relists == 2, limit_s=10)
    assert "odd" in world.names(), "an odd object in a list is not a deleted one"
    world.server.remove("pods", "ns", "odd")
    await run_until(world.clock, lambda: "odd" not in world.names(), limit_s=10)


async def test_a_torn_line_is_read_again_from_the_version_before(world: World) -> None:
    world.start()
    await follow(world)
    world.server.watches[0].raw(b'{"type":"ADDED","object":{"metada')
    world.server.put("pods", pod("after"))
    await follow(world)
    assert world.names() == ["after"]


async def test_an_api_server_away_for_minutes_is_waited_for(world: World) -> None:
    world.server.faults.down = True
    world.start()
    await world.clock.advance(300)
    assert not world.cache.synced
    world.server.put("pods", pod("a"))
    world.server.faults.down = False
    await follow(world)


async def test_a_label_that_goes_away_is_a_deletion(world: World) -> None:
    world.reflector._selector = {"labelSelector": "team=red"}
    world.server.put("pods", pod("a", labels={"team": "red"}))
    world.server.put("pods", pod("b", labels={"team": "blue"}))
    world.start()
    await run_until(world.clock, lambda: world.names() == ["a"], limit_s=5)
    world.server.merge("pods", "ns", "a", {"metadata": {"labels": {"team": "blue"}}})
    world.server.merge("pods", "ns", "b", {"metadata": {"labels": {"team": "red"}}})
    await run_until(world.clock, lambda: world.names() == ["b"], limit_s=5)
