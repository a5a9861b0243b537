"""Two replicas that both believe to lead: safety never rests on the lease.

A leader that is stopped before one of its calls, and wakes when another one has led for long, goes on with that call
and with its old caches, and believes for another minute that it leads. Whatever the call was,
the job's end is the same.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path

import pytest

from tests.cluster.life.crash_points import undisturbed
from tests.cluster.life.stories import EVERY, SHORT, STORIES, VOLUMES, End, Story, finish_life
from tests.cluster.life.world import World
from tests.support.clock import run_until

ASLEEP_S = 40.0
BELIEF_S = 70.0
PAUSED = ("start", "restart", "suspend", "resume", "delete")


async def both_lead(world: World) -> None:
    """Have every replica believe, all the time, that it leads."""
    for replica, process in world.replicas:
        world.believe(replica, process, 3600)


@pytest.mark.parametrize("name", STORIES)
def test_two_leaders_all_the_time_change_no_end(name: str) -> None:
    story = STORIES[name]
    assert _live(story, both=True) == _as(undisturbed(name, "standby").end, story)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PAUSED)
def test_a_leader_that_wakes_late_does_no_harm(name: str) -> None:
    story, plain = STORIES[name], undisturbed(name, "standby")
    wrong = {}
    for call in range(1, len(plain.calls) + 1):
        try:
            end = _live(story, call=call)
        except AssertionError as error:
            wrong[call, plain.calls[call - 1]] = str(error)
        else:
            if end != _as(plain.end, story):
                wrong[call, plain.calls[call - 1]] = str(end)
    assert not wrong, "\n".join(f"{where}: {what}" for where, what in wrong.items())


def test_a_pod_of_an_attempt_that_is_over_is_deleted_at_sight(tmp_path: Path) -> None:
    """The one thing that a leader which wakes can do: its create of long ago comes through, and nothing comes of it."""
    calls = undisturbed("start", "standby").calls
    creates = [number for number, call in enumerate(calls, 1) if call.startswith("POST") and call.endswith("/pods")]
    asyncio.run(_late_create(tmp_path, creates[-1]))


async def _late_create(tmp_path: Path, call: int) -> None:
    world = World(1, tmp_path, total_steps=60, every_steps=EVERY)
    world.fuse.light(call, "before")
    world.fuse.pauses = True
    world.promises.stale_creates = True
    stale: list[str] = []
    world.server.store.listeners.append(lambda _: stale.extend(world.promises.stale))
    await world.start()
    replica, process = world.replicas[0]
    world.transports["operator-1"].on_pause = lambda: world.believe(replica, process, 3600)
    world.apply()
    await world.until_phase("Running")
    assert world.fuse.blown
    machine = world.kubelet.machine("0-1", 1)
    assert machine is not None
    machine.finish(137)
    await run_until(world.clock, lambda: world.kubelet.machine("0-1", 2) is not None, limit_s=60)
    await world.until_phase("Running")
    world.transports["operator-1"].wake()
    await world.clock.advance(10)
    assert stale, "the late create came through"
    assert not world.promises.stale, "and its pod is gone"
    await world.until_phase("Succeeded")
    assert world.causes() == ["WorkerFailed", "Succeeded"]
    world.check_whole()
    await world.stop()


def _as(end: End, story: Story) -> tuple[object, ...]:
    """Return what must be the same; trainers that are stopped later have come further."""
    newest = end.newest if story.steps == SHORT else None
    return (end.phase, end.causes, newest, end.pods, end.services, end.restarts)


def _live(story: Story, *, both: bool = False, call: int = 0) -> tuple[object, ...]:
    logging.disable(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="hf-", dir=VOLUMES) as folder:
            return _as(asyncio.run(_lived(story, Path(folder), both=both, call=call)), story)
    finally:
        logging.disable(logging.NOTSET)


async def _lived(story: Story, folder: Path, *, both: bool, call: int) -> End:
    world = World(1, folder, total_steps=story.steps, every_steps=EVERY)
    fuse = world.fuse
    fuse.at, fuse.pauses = call, True
    slept: list[str] = []

    def asleep() -> None:
        """The first replica has just been stopped."""
        slept.append(fuse.blown)
        replica, process = world.replicas[0]
        world.believe(replica, process, ASLEEP_S + BELIEF_S)
        world.spawner.spawn(_wake(world, process.name), name="wake")

    try:
        await world.start()
        if both:
            await both_lead(world)
        world.transports["operator-1"].on_pause = asleep
        end = await finish_life(world, story, fuse)
        assert not call or slept, "nobody was paused"
        await world.clock.advance(ASLEEP_S + BELIEF_S)
        assert world.status().get("phase", "") == story.phase
        world.promises.check()
        return end
    finally:
        await world.stop()


async def _wake(world: World, name: str) -> None:
    await world.clock.sleep(ASLEEP_S)
    world.transports[name].wake()
