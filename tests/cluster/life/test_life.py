"""One job's life from a seed: whatever happens to it, in whatever order, it ends with everything committed.

A seed that fails is replayed with `pytest tests/cluster/life -k 'seed-17'` after adding it to SEEDS.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.seams import ApiError
from tests.cluster.life.world import EVERY_STEPS, TOTAL_STEPS, World
from tests.support.apiserver_faults import matching
from tests.support.clock import run_until

SEEDS = range(1, 25)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(getattr(request, "param", 1), tmp_path)
    await made.start()
    yield made
    await made.stop()


def assert_whole(world: World) -> None:
    """The last step is committed by both slots, steps only grow along the runs, and every commit names its parts."""
    commits = world.commits()
    newest = max(commits)
    assert int(newest[1]) == TOTAL_STEPS
    assert len(commits[newest]["parts"]) == 2
    steps = [int(step) for _, step in sorted(commits)]
    assert steps == sorted(steps), "a run never commits a step that an older run's chain has passed"


async def test_an_undisturbed_life(world: World) -> None:
    world.apply()
    await world.until_phase("Succeeded")
    assert_whole(world)
    status = world.status()
    assert status["attempt"] == 1
    assert [row["cause"] for row in status["attempts"]] == ["Succeeded"]
    writes = [path for method, path in world.server.writes() if path.endswith("/status") and "trainingjobs" in path]
    assert len(writes) == 3, "written ahead, running, succeeded"


async def test_a_killed_worker_costs_at_most_one_cadence(world: World) -> None:
    world.apply()
    await world.until_step(EVERY_STEPS * 2 + 3)
    victim = world.kubelet.machine("0-1", 1)
    assert victim is not None
    victim.finish(137)
    await run_until(world.clock, lambda: world.status().get("attempt") == 2, limit_s=60)
    await world.until_phase("Running", limit_s=120)
    restored = world.kubelet.machine("0-1", 2)
    assert restored is not None
    assert restored.step >= EVERY_STEPS * 2
    await world.until_phase("Succeeded")
    assert_whole(world)
    assert world.status()["attempts"][0]["cause"] == "WorkerFailed"


async def test_a_lost_node_is_told_as_such_and_not_counted(world: World) -> None:
    world.apply()
    await world.until_step(EVERY_STEPS + 2)
    world.kubelet.power_off("n2")
    await world.until_phase("Succeeded")
    assert_whole(world)
    first = world.status()["attempts"][0]
    assert (first["cause"], first["nodes"]) == ("NodeLost", ["n2"])
    assert world.status().get("restarts", 0) == 0


async def test_suspend_and_resume(world: World) -> None:
    world.apply()
    await world.until_step(EVERY_STEPS + 2)
    world.patch(suspend=True)
    await world.until_phase("Suspended", limit_s=120)
    assert not world.server.all("pods")
    world.patch(suspend=False)
    await world.until_phase("Succeeded")
    assert_whole(world)
    assert [row["cause"] for row in world.status()["attempts"]] == ["Suspended", "Succeeded"]


async def test_a_job_deleted_in_mid_start_leaves_nothing(world: World) -> None:
    world.apply()
    await run_until(world.clock, lambda: bool(world.server.all("pods")), limit_s=30)
    world.server.remove("trainingjobs", "team", "digits")
    await run_until(world.clock, lambda: not world.server.all("pods"), limit_s=60)
    await world.clock.advance(30)
    assert not world.server.all("pods")
    assert not world.server.all("services")


@pytest.mark.parametrize("world", SEEDS, indirect=True, ids=lambda seed: f"seed-{seed}")
async def test_any_life_ends_whole(world: World) -> None:
    choice = random.Random(world.seed)

    async def kill_worker() -> None:
        machine = choice.choice(list(world.kubelet.machines.values()) or [None])
        if machine is not None:
            machine.finish(137)

    async def kill_operator() -> None:
        await world.kill_leader()

    async def power_off() -> None:
        if len(world.kubelet.nodes) > 1:
            world.kubelet.power_off(choice.choice(world.kubelet.nodes))

    async def lose_answers() -> None:
        world.server.faults.lose_answer(matching("POST", "/pods"))
        world.server.faults.lose_answer(matching("PATCH", "/status"))
        world.server.faults.refuse(matching("DELETE", "/pods"), ApiError(503, "ServiceUnavailable", "busy"))

    async def suspend_a_while() -> None:
        world.patch(suspend=True)
        await world.clock.advance(choice.uniform(0, 20))
        world.patch(suspend=False)

    faults: list[Callable[[], Awaitable[None]]] = [
        kill_worker,
        kill_operator,
        power_off,
        lose_answers,
        suspend_a_while,
    ]
    world.apply(recovery={"maxRestarts": 50, "backoff": {"initial": "1s", "max": "5s"}})
    for _ in range(6):
        await world.clock.advance(choice.uniform(0, 15))
        await choice.choice(faults)()
    await world.until_phase("Succeeded", limit_s=3600)
    assert_whole(world)
    assert not world.spawner.failures
