"""Deadlines, expiry and stalls in whole lives: with restarts of the operator, in the middle of everything else."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.cluster.life.world import EVERY_STEPS, NAME, NAMESPACE, TOTAL_STEPS, Document, World
from tests.support.clock import run_until

SEEDS = range(1, 17)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(getattr(request, "param", 1), tmp_path)
    await made.start()
    yield made
    await made.stop()


def job_exists(world: World) -> bool:
    return world.server.find("trainingjobs", NAMESPACE, NAME) is not None


def writes(world: World) -> int:
    return len([path for method, path in world.server.writes() if "/events" not in path])


def row_s(row: Document) -> int:
    """How long an attempt was active."""
    return int((datetime.fromisoformat(row["endedAt"]) - datetime.fromisoformat(row["startedAt"])).total_seconds())


def rows_s(world: World) -> int:
    """The time of all attempts, all of which have ended."""
    return sum(row_s(row) for row in world.status()["attempts"])


async def until_or(world: World, ended: Callable[[], bool], seconds: float) -> None:
    """Let some time pass, but not beyond the end of the job."""
    over = world.clock.elapsed + seconds
    await run_until(world.clock, lambda: ended() or world.clock.elapsed >= over, limit_s=seconds + 1)


async def test_a_deadline_keeps_the_commits_and_a_new_job_goes_on_from_them(world: World) -> None:
    world.kubelet.total_steps = 100
    world.apply(activeDeadline="15s")
    await world.until_phase("Failed", limit_s=120)
    status = world.status()
    assert status["reason"] == "DeadlineExceeded"
    assert [row["cause"] for row in status["attempts"]] == ["DeadlineExceeded"]
    assert 15 <= status["activeSeconds"] <= 16
    assert all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in world.server.all("pods"))
    kept = status["checkpoint"]["latest"]["step"]
    assert kept >= EVERY_STEPS
    assert kept in {int(step) for _, step in world.commits()}

    world.server.remove("trainingjobs", NAMESPACE, NAME)
    world.apply()
    await run_until(world.clock, lambda: world.status().get("phase") == "Running", limit_s=120)
    assert world.status()["checkpoint"]["restoredStep"] == kept
    await world.until_phase("Succeeded")


async def test_time_asleep_does_not_count(world: World) -> None:
    world.apply(activeDeadline="90s")
    await world.until_step(EVERY_STEPS + 2)
    world.patch(suspend=True)
    await world.until_phase("Suspended", limit_s=120)
    before = writes(world)
    await world.clock.advance(200)
    await world.kill_leader()
    await world.clock.advance(200)
    assert writes(world) == before, "a suspended job costs nothing"
    world.patch(suspend=False)
    await world.until_phase("Succeeded", limit_s=120)
    assert world.status()["activeSeconds"] == rows_s(world) < 90


async def test_a_job_that_has_ended_goes_when_its_time_is_over_and_the_bucket_stays(world: World) -> None:
    world.apply(ttlAfterFinished="10m")
    await world.until_phase("Succeeded")
    commits = world.commits()
    before = writes(world)
    await world.clock.advance(300)
    await world.kill_leader()
    await world.clock.advance(290)
    assert job_exists(world)
    assert writes(world) == before, "nothing is written while it waits, a new leader included"
    await run_until(world.clock, lambda: not job_exists(world), limit_s=30)
    await run_until(world.clock, lambda: not world.server.all("pods"), limit_s=30)
    deletes = [path for method, path in world.server.writes() if method == "DELETE" and "trainingjobs" in path]
    assert len(deletes) == 1
    assert world.commits() == commits


async def test_a_longer_time_to_live_that_is_on_its_way_comes_first(world: World) -> None:
    world.apply(ttlAfterFinished="60s")
    await world.until_phase("Succeeded")
    await world.clock.advance(55)
    world.patch(ttlAfterFinished="1h")
    await world.clock.advance(600)
    assert job_exists(world)
    world.patch(ttlAfterFinished="0s")
    await run_until(world.clock, lambda: not job_exists(world), limit_s=30)


async def test_a_stall_is_a_restart_from_the_newest_commit(world: World) -> None:
    world.hear()
    world.kubelet.stalls_at[1] = EVERY_STEPS * 2 + 1
    world.apply(recovery={"stallTimeout": "2m"})
    await run_until(world.clock, lambda: world.status().get("attempt") == 2, limit_s=300)
    row = world.status()["attempts"][0]
    assert row["cause"] == "Stalled"
    assert f"step {EVERY_STEPS * 2 + 1}" in row["message"]
    assert 120 <= row_s(row) <= 120 + 90
    await world.until_phase("Succeeded")
    assert world.status()["restarts"] == 1


async def test_a_stall_is_seen_by_a_new_leader_too(world: World) -> None:
    world.hear()
    world.kubelet.stalls_at[1] = EVERY_STEPS + 1
    world.apply(recovery={"stallTimeout": "5m"})
    await world.until_step(EVERY_STEPS + 1)
    for _ in range(4):
        await world.clock.advance(65)
        await world.kill_leader()
    assert world.status()["attempt"] == 1
    await run_until(world.clock, lambda: world.status().get("attempt") == 2, limit_s=180)
    assert world.status()["attempts"][0]["cause"] == "Stalled"


async def test_a_trainer_that_tells_no_steps_is_never_judged(world: World) -> None:
    world.kubelet.stalls_at[1] = EVERY_STEPS + 1
    world.apply(recovery={"stallTimeout": "30s"})
    await world.until_step(EVERY_STEPS + 1)
    await world.clock.advance(300)
    assert world.status()["attempt"] == 1


@pytest.mark.parametrize("world", SEEDS, indirect=True, ids=lambda seed: f"seed-{seed}")
async def test_whatever_happens_the_deadline_counts_the_active_time(world: World) -> None:
    choice = random.Random(world.seed)
    limit = choice.choice([20, 40, 60, 300])
    world.apply(
        activeDeadline=f"{limit}s",
        recovery={"maxRestarts": 50, "backoff": {"initial": "1s", "max": "5s"}},
    )
    seen: list[tuple[str, int, int]] = []

    def ended() -> bool:
        if (phase := world.status().get("phase")) in ("Succeeded", "Failed"):
            seen.append((phase, world.status()["activeSeconds"], rows_s(world)))
        return bool(seen)

    for _ in range(6):
        await until_or(world, ended, choice.uniform(1, 15))
        if seen:
            break
        what = choice.choice(["kill worker", "kill operator", "sleep", "nothing"])
        if what == "kill worker" and world.kubelet.machines:
            choice.choice(list(world.kubelet.machines.values())).finish(137)
        elif what == "kill operator":
            await world.kill_leader()
        elif what == "sleep":
            world.patch(suspend=True)
            await world.clock.advance(choice.uniform(0, 200))
            world.patch(suspend=False)
    await run_until(world.clock, ended, limit_s=900)
    phase, active, rows = seen[0]
    assert active == rows
    if phase == "Failed":
        assert limit <= active <= limit + 25, "at most the time that an operator takes to come back"
    else:
        assert len({step for _, step in world.commits() if int(step) == TOTAL_STEPS}) == 1
