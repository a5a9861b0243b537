"""Watches that go wrong again and again cost little, and end in a cache that equals the API server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import pytest

from holdfast.app.health import SILENT_S
from holdfast.cluster.reflector import SILENT_WATCHES
from holdfast.seams import ApiError
from tests.cluster.test_reflector import follow, lists, watches
from tests.support.apiserver_faults import matching
from tests.support.clock import run_until
from tests.support.reflecting import World, pod


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.spawner.stop()
    assert not made.spawner.failures


@pytest.mark.parametrize("where", ["opening", "stream"])
async def test_a_server_for_which_every_version_is_too_old_is_not_hammered(world: World, where: str) -> None:
    world.start()
    await follow(world)
    if where == "opening":
        world.server.faults.refuse(matching("WATCH"), ApiError(410, "Expired", "too old"), times=1000)
        world.server.watches[0].tear()
    end = world.clock.elapsed + 60
    while world.clock.elapsed < end:
        for watch in list(world.server.watches):
            watch.fail(410, "Expired")
        await world.clock.advance(0.05)
    assert 1 < lists(world) < 15


async def test_a_410_after_events_is_answered_by_a_list_at_once(world: World) -> None:
    world.start()
    await follow(world)
    world.server.put("pods", pod("a"))
    await follow(world)
    world.server.watches[0].fail(410, "Expired")
    assert await run_until(world.clock, lambda: world.reflector.relists == 2, limit_s=10) < 0.1


async def test_a_list_that_is_always_gone_is_not_hammered(world: World) -> None:
    world.server.faults.refuse(matching("GET"), ApiError(410, "Expired", "too old"), times=1000)
    world.start()
    await world.clock.advance(60)
    assert not world.cache.synced
    assert lists(world) < 3 * 12


async def test_a_server_that_closes_after_every_event_is_not_hammered(world: World) -> None:
    world.start()
    await follow(world)
    end = world.clock.elapsed + 30
    while world.clock.elapsed < end:
        for watch in list(world.server.watches):
            watch._send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "101"}}})
            watch.end_after_events()
        await world.clock.advance(0.05)
    assert watches(world) < 30 / 0.3
    assert lists(world) == 1


async def test_a_server_that_shows_nothing_new_is_asked_for_a_list(world: World) -> None:
    world.server.put("pods", pod("a"))
    world.server.faults.watch("silent", times=SILENT_WATCHES)
    world.start()
    await run_until(world.clock, lambda: world.cache.synced, limit_s=5)
    world.server.put("pods", pod("b"))
    await world.clock.advance(100)
    assert world.reflector.silence_s() > 95, "an open watch that says nothing is no sign of life"
    took = await follow(world, within_s=600)
    assert took + 100 < SILENT_S, "before the process is thought to be dead"
    assert lists(world) == 2


async def test_a_bookmark_is_a_version_to_go_on_from(world: World) -> None:
    world.server.put("pods", pod("a"))
    world.start()
    await follow(world)
    for number in range(5):
        world.server.put("secrets", {"metadata": {"name": f"s-{number}", "namespace": "ns"}})
    await world.clock.advance(61)
    world.server.store.compact()
    world.server.watches[0].tear()
    world.server.put("pods", pod("b"))
    await follow(world)
    assert lists(world) == 1, "without the bookmark the version would be too old"


async def test_events_that_come_twice_change_nothing(world: World) -> None:
    world.server.faults.watch("doubled")
    world.start()
    await run_until(world.clock, lambda: world.cache.synced, limit_s=5)
    world.server.put("pods", pod("a"))
    world.server.merge("pods", "ns", "a", {"metadata": {"labels": {"x": "1"}}})
    world.server.remove("pods", "ns", "a")
    await world.clock.advance(5)
    assert [kind for kind, _, _ in world.changes] == ["added", "modified", "deleted"]
    assert lists(world) == 1


async def test_a_deletion_that_overtakes_leaves_no_ghost(world: World) -> None:
    world.server.faults.watch("swapped")
    world.start()
    await run_until(world.clock, lambda: world.cache.synced, limit_s=5)
    world.server.put("pods", pod("ghost"))
    world.server.remove("pods", "ns", "ghost")
    await follow(world)
    await world.clock.advance(5)
    assert world.names() == []
    assert lists(world) == 2, "a stream that is out of order is not trusted"


async def test_a_change_that_was_overtaken_by_another_objects_is_not_lost(world: World) -> None:
    world.server.faults.watch("swapped")
    world.start()
    await run_until(world.clock, lambda: world.cache.synced, limit_s=5)
    world.server.put("pods", pod("a"))
    world.server.put("pods", pod("b"))
    await follow(world)
    assert world.names() == ["a", "b"]


async def test_an_object_without_a_name_that_can_be_read_makes_no_deletions(world: World) -> None:
    for name in ("a", "b"):
        world.server.put("pods", pod(name))
    world.start()
    await follow(world)
    place = (world.server.info("pods"), "ns", "b")
    whole = world.server.store.objects[place]
    world.server.store.objects[place] = {**whole, "metadata": {**whole["metadata"], "labels": {"a": 1}}}
    world.server.put("pods", pod("c"))
    world.server.watches[0].fail(410, "Expired")
    await run_until(world.clock, lambda: world.reflector.relists == 2, limit_s=10)
    assert world.names() == ["a", "b", "c"]
    assert world.reflector.odd_objects == 1


def replayed(changes: list[tuple[str, str, str]]) -> list[str]:
    """Return who is there after all changes that were told; each must fit what was told before."""
    there: dict[str, str] = {}
    for kind, name, uid in changes:
        if kind == "added":
            assert name not in there
            there[name] = uid
        else:
            assert there.get(name) == uid, f"{kind} {name} of another life"
            if kind == "deleted":
                del there[name]
    return sorted(there)


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens_the_cache_ends_equal_and_tells_a_story_that_fits(world: World, seed: int) -> None:
    chance = random.Random(seed)
    server = world.server
    server.watch_lag = lambda: chance.choice([0.0, 0.0, 0.2, 2.0])

    def each_watch(act: str) -> None:
        for watch in list(server.watches):
            getattr(watch, act)()

    def create() -> None:
        name = f"p-{chance.randrange(8)}"
        if server.find("pods", "ns", name) is None:
            server.put("pods", pod(name))

    def change() -> None:
        for item in server.all("pods")[:1]:
            labels = {"metadata": {"labels": {"x": str(chance.random())[2:8]}}}
            server.merge("pods", "ns", item["metadata"]["name"], labels)

    def remove() -> None:
        names = world.truth()
        if names:
            server.remove("pods", "ns", chance.choice(names))

    def spoil() -> None:
        server.faults.watch(chance.choice(["silent", "closed", "doubled", "swapped"]))

    def refuse() -> None:
        server.faults.refuse(matching(chance.choice(["GET", "WATCH"])), ApiError(chance.choice([410, 500, 429, 0])))

    actions: list[Callable[[], object]] = [
        create, create, create, change, change, remove, spoil, refuse, server.store.compact,
        lambda: each_watch("tear"), lambda: each_watch("end"), lambda: setattr(server.faults, "down", True),
    ]  # fmt: skip
    world.start()
    for _ in range(60):
        chance.choice(actions)()
        await world.clock.advance(chance.choice([0.0, 0.1, 1.0, 20.0]))
        server.faults.down = False
    await follow(world, within_s=600)
    assert replayed(world.changes) == world.truth()
