"""The stories of a job's life, and living one of them with a process killed at one of its calls.

A story first does its `prelude`, then arms the fuses, then does its `tale`; the rest of the life goes on to the end.
Every call within the tale can be the last one of the process that makes it.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.cluster.life.machine import Killed
from tests.cluster.life.process import Fuse, When
from tests.cluster.life.world import World
from tests.support.clock import run_until

Who = Literal["standby", "single", "pod"]

EVERY = 3
# Of a story in which the job comes to its end, and of one in which it is stopped before, however late.
SHORT, LONG = 9, 300
# Volumes are in memory: a life writes little, and often.
VOLUMES = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Story:
    """`phase` is where the job ends, empty where it is gone. `steps` is how many the trainers take."""

    name: str
    prelude: Callable[[World], Awaitable[None]]
    tale: Callable[[World], Awaitable[None]]
    phase: str = "Succeeded"
    steps: int = SHORT


@dataclass(frozen=True)
class Kill:
    """Who is killed, and where. `pod` kills restore steps and sidecars, the others the first operator."""

    who: Who
    when: When = "before"
    call: int = 0

    def __str__(self) -> str:
        return f"{self.who}:{self.when}:{self.call}"

    @classmethod
    def parse(cls, text: str) -> Kill:
        who, when, call = text.split(":")
        assert who in ("standby", "single", "pod"), text
        assert when in ("before", "after"), text
        return cls(who, when, int(call))  # type: ignore[arg-type]  # just checked


@dataclass(frozen=True)
class End:
    """What a life has come to."""

    phase: str
    causes: tuple[str, ...]
    newest: tuple[int, int] | None
    latest: int | None
    pods: tuple[tuple[str, str], ...]
    services: int
    restarts: int


@dataclass(frozen=True)
class Life:
    """One life that was lived: its end, the calls within its tale, where somebody died, and in which container."""

    end: End
    calls: list[str]
    blown: str
    killed: tuple[Killed, ...]


async def nothing(world: World) -> None:
    """Leave the world as it is."""


async def begin(world: World) -> None:
    world.apply()


async def run(world: World) -> None:
    await begin(world)
    await world.until_phase("Running")


async def reach(world: World) -> None:
    """Get to the moment when both workers have just written a step, and no sidecar has seen it."""
    await begin(world)

    def reached() -> bool:
        machines = [world.kubelet.machine(slot, 1) for slot in ("0-0", "0-1")]
        return all(machine is not None and machine.step == 2 * EVERY for machine in machines)

    await run_until(world.clock, reached, limit_s=60)


async def start(world: World) -> None:
    # A leader that takes over late finds the job at its end.
    await run_until(world.clock, lambda: world.status().get("phase") in ("Running", "Succeeded"), limit_s=60)


async def finish(world: World) -> None:
    await world.until_phase("Succeeded")
    await world.clock.advance(5)


async def break_worker(world: World) -> None:
    machine = world.kubelet.machine("0-1", 1)
    assert machine is not None
    machine.finish(137)


async def fault(world: World) -> None:
    await break_worker(world)
    await until_attempt(world, 2)


async def broken(world: World) -> None:
    await reach(world)
    await fault(world)


async def lose_node(world: World) -> None:
    world.kubelet.power_off("n2")
    await finish(world)


async def suspend(world: World) -> None:
    world.patch(suspend=True)
    await world.until_phase("Suspended")
    await world.clock.advance(3)


async def suspended(world: World) -> None:
    await reach(world)
    await suspend(world)


async def resume(world: World) -> None:
    world.patch(suspend=False)
    await finish(world)


async def delete(world: World) -> None:
    world.delete()
    await gone(world)


async def gone(world: World) -> None:
    await run_until(
        world.clock,
        lambda: world.job() is None and not world.server.all("pods") and not world.server.all("services"),
        limit_s=900,
    )
    await world.clock.advance(3)


async def until_attempt(world: World, attempt: int) -> None:
    await run_until(world.clock, lambda: world.status().get("attempt") == attempt, limit_s=900)


STORIES = {
    story.name: story
    for story in (
        Story("start", nothing, start),
        Story("fault", reach, fault),
        Story("restart", broken, finish),
        Story("node-loss", reach, lose_node),
        Story("suspend", reach, suspend, phase="Suspended", steps=LONG),
        Story("resume", suspended, resume),
        Story("finish", run, finish),
        Story("delete", reach, delete, phase="", steps=LONG),
    )
}


def live(story: Story, kill: Kill) -> Life:
    """Live one life in a loop of its own."""
    logging.disable(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="hf-", dir=VOLUMES) as folder:
            return asyncio.run(_live(story, kill, Path(folder)))
    finally:
        logging.disable(logging.NOTSET)


async def _live(story: Story, kill: Kill, folder: Path) -> Life:
    replicas = 1 if kill.who == "single" else 2
    world = World(1, folder, total_steps=story.steps, every_steps=EVERY, replicas=replicas)
    fuse = world.kubelet.fuse if kill.who == "pod" else world.fuse
    fuse.at, fuse.when = kill.call, kill.when
    try:
        # The start of the operator belongs to the start of a job.
        fuse.armed = story.prelude is nothing
        await world.start()
        end = await finish_life(world, story, fuse)
        return Life(end, fuse.calls, fuse.blown, tuple(world.kubelet.killed))
    finally:
        await world.stop()


async def finish_life(world: World, story: Story, fuse: Fuse) -> End:
    """Live the story in a world that has been started, with the fuse armed for its tale alone."""
    await story.prelude(world)
    if story.prelude is nothing:
        world.apply()
    fuse.armed = True
    await story.tale(world)
    fuse.armed = False
    await _end(world, story)
    return _look(world)


async def _end(world: World, story: Story) -> None:
    if story.phase:
        await world.until_phase(story.phase)
        await world.clock.advance(3)
    else:
        await gone(world)
    world.promises.check()
    world.promises.whole()
    died = world.died_of()
    assert not died, died


def _look(world: World) -> End:
    commits = world.commits()
    newest = max(commits, default=None)
    status = world.status()
    latest = ((status.get("checkpoint") or {}).get("latest") or {}).get("step")
    pods = tuple(
        (pod["metadata"]["name"].rsplit("-", 1)[0], pod["status"]["phase"]) for pod in world.server.all("pods")
    )
    return End(
        phase=status.get("phase", ""),
        causes=tuple(world.causes()),
        newest=(newest[1], len(commits[newest].parts)) if newest else None,
        latest=latest,
        pods=pods,
        services=len(world.server.all("services")),
        restarts=status.get("restarts", 0),
    )
