"""A job's life on claims: one a worker, or one that all workers share, through the same faults as on disks."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.life.world import EVERY_STEPS, TOTAL_STEPS, World
from tests.support.clock import run_until

TEMPLATE: dict[str, Any] = {"claimTemplate": {"resources": {"requests": {"storage": "1Gi"}}}}
SHARED: dict[str, Any] = {"sharedClaim": {"claimName": "models"}}
KINDS = {"template": TEMPLATE, "shared": SHARED}
SEEDS = range(1, 7)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(getattr(request, "param", 1), tmp_path)
    await made.start()
    yield made
    await made.stop()


def apply(world: World, volume: dict[str, Any], **spec: Any) -> None:
    checkpoint = {"destination": "gs://bucket/run", "cadence": {"everySteps": EVERY_STEPS}, "volume": volume}
    world.apply(checkpoint=checkpoint, **spec)


def make_shared_claim(world: World, *modes: str) -> None:
    spec = {"accessModes": list(modes), "storageClassName": "files", "volumeMode": "Filesystem"}
    world.server.put("persistentvolumeclaims", {"metadata": {"name": "models", "namespace": "team"}, "spec": spec})


def claims(world: World) -> dict[str, str]:
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in world.server.all("persistentvolumeclaims")}


def assert_whole(world: World, parts: int) -> None:
    commits = world.commits()
    newest = max(commits)
    assert int(newest[1]) == TOTAL_STEPS
    assert {len(commit.parts) for commit in commits.values()} == {parts}
    steps = [int(step) for _, step in sorted(commits)]
    assert steps == sorted(steps)


def writes_to_claims(world: World) -> list[tuple[str, str]]:
    return [(method, path) for method, path in world.server.writes() if "persistentvolumeclaims" in path]


async def test_claims_outlive_attempts_and_suspension_and_go_with_the_job(world: World) -> None:
    apply(world, TEMPLATE)
    await world.until_step(EVERY_STEPS + 2)
    first = claims(world)
    assert list(first) == ["checkpoints-digits-0-0", "checkpoints-digits-0-1"]
    victim = world.kubelet.machine("0-1", 1)
    assert victim is not None
    victim.finish(137)
    await run_until(world.clock, lambda: world.status().get("attempt") == 2, limit_s=60)
    world.patch(suspend=True)
    await world.until_phase("Suspended", limit_s=120)
    assert claims(world) == first
    world.patch(suspend=False)
    await world.until_phase("Succeeded")
    assert_whole(world, 2)
    assert claims(world) == first
    assert len(writes_to_claims(world)) == 2, "each was made once, and nothing else was ever written to it"
    world.server.remove("trainingjobs", "team", "digits")
    await run_until(world.clock, lambda: not claims(world), limit_s=60)


async def test_a_disk_costs_no_write_to_claims(world: World) -> None:
    world.apply()
    await world.until_phase("Succeeded")
    assert writes_to_claims(world) == []
    reads = [path for method, path in world.server.requests if method == "GET" and "/persistentvolumeclaims/" in path]
    assert reads == []


async def test_the_operator_dies_between_the_claims(world: World) -> None:
    world.server.faults.lose_answer(lambda method, path: method == "POST" and "persistentvolumeclaims" in path)
    apply(world, TEMPLATE)
    await run_until(world.clock, lambda: bool(claims(world)), limit_s=30)
    await world.kill_leader()
    await world.until_phase("Succeeded")
    assert len(claims(world)) == 2
    assert_whole(world, 2)


async def test_a_shared_claim_that_comes_late(world: World) -> None:
    apply(world, SHARED)
    await run_until(world.clock, lambda: world.status().get("reason") == "ClaimNotFound", limit_s=60)
    assert world.status()["phase"] == "Pending"
    await world.clock.advance(90)
    assert not world.server.all("pods")
    make_shared_claim(world, "ReadWriteOnce")
    await run_until(world.clock, lambda: world.status().get("reason") == "ClaimUnsuitable", limit_s=60)
    world.server.remove("persistentvolumeclaims", "team", "models")
    make_shared_claim(world, "ReadWriteMany")
    await world.until_phase("Succeeded")
    assert_whole(world, 1)
    accepted = next(one for one in world.status()["conditions"] if one["type"] == "Accepted")
    assert accepted["status"] == "True"
    assert writes_to_claims(world) == [], "it is the user's"


async def test_waiting_for_a_shared_claim_writes_once(world: World) -> None:
    apply(world, SHARED)
    await world.until_phase("Pending", limit_s=60)
    await world.clock.advance(10)
    before = world.server.writes()
    await world.clock.advance(600)
    assert world.server.writes() == before


@pytest.mark.parametrize("world", SEEDS, indirect=True, ids=lambda seed: f"seed-{seed}")
@pytest.mark.parametrize("kind", KINDS)
async def test_any_life_ends_whole(world: World, kind: str) -> None:
    choice = random.Random(world.seed)

    async def kill_worker() -> None:
        machine = choice.choice(list(world.kubelet.machines.values()) or [None])
        if machine is not None:
            machine.finish(137)

    async def kill_first() -> None:
        machines = [one for one in world.kubelet.machines.values() if one.config.slot == "0-0"]
        if machines:
            machines[0].finish(137)

    async def power_off() -> None:
        if len(world.kubelet.nodes) > 1:
            world.kubelet.power_off(choice.choice(world.kubelet.nodes))

    make_shared_claim(world, "ReadWriteMany")
    apply(world, KINDS[kind], recovery={"maxRestarts": 50, "backoff": {"initial": "1s", "max": "5s"}})
    for _ in range(6):
        await world.clock.advance(choice.uniform(0, 15))
        await choice.choice([kill_worker, kill_first, power_off, world.kill_leader])()
    await world.until_phase("Succeeded", limit_s=3600)
    assert_whole(world, 1 if kind == "shared" else 2)
    assert not world.spawner.failures
