"""Single lives of a job, each with one thing that happens to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.life.world import EVERY_STEPS, World
from tests.support.clock import run_until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(1, tmp_path)
    await made.start()
    yield made
    await made.stop()
    made.promises.check()


async def test_an_undisturbed_life(world: World) -> None:
    world.apply()
    await world.until_phase("Succeeded")
    world.check_whole()
    status = world.status()
    assert status["attempt"] == 1
    assert [row["cause"] for row in status["attempts"]] == ["Succeeded"]
    writes = [path for method, path in world.server.writes() if path.endswith("/status") and "trainingjobs" in path]
    assert len(writes) == 2, "running, succeeded"


def requests_of_a_start(world: World, name: str) -> Counter[str]:
    """What the operator asked of the API server for one job: creations, status writes and changes, by resource."""
    found: Counter[str] = Counter()
    for method, path in world.server.requests:
        if "/namespaces/team/" in path and (method == "POST" or f"/{name}" in path):
            found[f"{method} {path.partition('/namespaces/team/')[2].replace(f'/{name}', '')}"] += 1
    return found


async def test_a_start_costs_what_the_papers_say(world: World) -> None:
    """README (few writes), docs/architecture.md and docs/decisions/0009: the first of equal jobs pays the dry run."""
    world.apply()
    await world.until_phase("Running")
    first = requests_of_a_start(world, "digits")
    assert first == {
        "POST pods": 2 + 1,  # the pods, and the dry run
        "POST services": 1,
        "PATCH trainingjobs": 1,  # the finalizer
        "PUT trainingjobs/status": 1,
    }


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
    world.check_whole()
    assert world.status()["attempts"][0]["cause"] == "WorkerFailed"


async def test_a_lost_node_is_told_as_such_and_not_counted(world: World) -> None:
    world.apply()
    await world.until_step(EVERY_STEPS + 2)
    world.kubelet.power_off("n2")
    await world.until_phase("Succeeded")
    world.check_whole()
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
    world.check_whole()
    assert [row["cause"] for row in world.status()["attempts"]] == ["Suspended", "Succeeded"]


async def test_a_job_deleted_in_mid_start_leaves_nothing(world: World) -> None:
    world.apply()
    await run_until(world.clock, lambda: bool(world.server.all("pods")), limit_s=30)
    world.server.remove("trainingjobs", "team", "digits")
    await run_until(world.clock, lambda: not world.server.all("pods"), limit_s=60)
    await world.clock.advance(30)
    assert not world.server.all("pods")
    assert not world.server.all("services")
