"""Attempts in the status and runs in the bucket, where one of them is late, lost, doubled or turned back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.checkpoint import layout
from holdfast.checkpoint.manifests import Plan, decode
from tests.cluster.life.world import NAME, World
from tests.support.bucket import Hook
from tests.support.clock import run_until

TOTAL, EVERY = 30, 5


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(1, tmp_path, total_steps=TOTAL, every_steps=EVERY)
    await made.start()
    yield made
    await made.stop()


def plan_of(world: World, run: int) -> tuple[int, int] | None:
    """Return the commit that a run started from."""
    name = layout.plan(run, 1)
    commit = decode(name, world.bucket.read(name, None).data, Plan).commit
    return (commit.run, commit.step) if commit is not None else None


def runs(world: World) -> list[int]:
    return [
        json.loads(world.bucket.read(name, None).data)["attempt"] for name in world.bucket.names("runs/", "run.json")
    ]


async def break_at(world: World, attempt: int, step: int) -> None:
    """Kill a worker of an attempt once it has reached a step, and wait until the next attempt runs."""

    def reached() -> bool:
        machine = world.kubelet.machine("0-1", attempt)
        return machine is not None and machine.step >= step

    await run_until(world.clock, reached, limit_s=300)
    machine = world.kubelet.machine("0-1", attempt)
    assert machine is not None
    machine.finish(137)
    await run_until(world.clock, lambda: (world.status().get("attempt") or 0) > attempt, limit_s=300)
    await world.until_phase("Running")


async def test_a_flush_that_lands_after_the_next_fence_is_an_orphan(world: World) -> None:
    late = layout.commit(1, 2 * EVERY)

    async def hold(verb: str, name: str) -> None:
        if (verb, name) == ("put", late):
            while layout.plan(2, 1) not in world.bucket.objects:
                await world.clock.sleep(0.5)

    world.kubelet.bucket_faults.faults = Hook(on_before=hold)
    world.apply()
    await world.until_step(EVERY + 3)
    world.kubelet.cut_off("n1")
    world.kubelet.cut_off("n2")
    await world.until_phase("Succeeded")
    assert world.causes() == ["NodeLost", "Succeeded"]
    assert plan_of(world, 2) == (1, EVERY)
    assert world.promises.orphans == {(1, 2 * EVERY)}
    assert (1, 2 * EVERY) in world.commits(), "it is kept"
    told = world.status()["checkpoint"]
    assert (told["latest"]["run"], told["latest"]["step"]) == (2, TOTAL)
    assert (1, 2 * EVERY) not in [(item["run"], item["step"]) for item in told["list"]]
    world.check_whole()


@pytest.mark.parametrize(
    ("order", "start"), [({"policy": "Step", "step": EVERY}, (1, EVERY)), ({"policy": "None"}, None)]
)
async def test_a_rewind_is_a_new_run_that_names_an_older_commit_and_is_served_once(
    world: World, order: dict[str, object], start: tuple[int, int] | None
) -> None:
    many = {"keepLast": 10}
    world.apply(checkpoint=world.checkpoint(retention=many))
    await world.until_step(3 * EVERY + 2)
    world.patch(checkpoint=world.checkpoint(retention=many, restore=order))
    world.promises.rewinds = True
    await break_at(world, 1, 3 * EVERY + 3)
    assert plan_of(world, 2) == start
    await break_at(world, 2, 2 * EVERY + 3)
    assert plan_of(world, 3) == (2, 2 * EVERY), "an order is carried out once"
    await world.until_phase("Succeeded")
    assert {(1, EVERY), (1, 2 * EVERY), (1, 3 * EVERY), (2, 2 * EVERY), (3, TOTAL)} <= set(world.commits())
    latest = world.status()["checkpoint"]["latest"]
    assert (latest["run"], latest["step"]) == (3, TOTAL)
    world.promises.check()
    world.promises.whole()


async def test_a_death_between_the_fence_and_the_other_pods_leaves_one_run(world: World) -> None:
    await run_until(world.clock, lambda: world.leader() is not None, limit_s=10)
    found = world.leader()
    assert found is not None
    leader = found[1]
    world.server.store.listeners.append(
        lambda change: leader.kill() if change.info.plural == "pods" and change.type == "ADDED" else None
    )
    world.apply()
    await run_until(world.clock, lambda: bool(runs(world)), limit_s=10)
    assert len(world.server.all("pods")) == 1
    await world.until_phase("Succeeded")
    assert world.causes() == ["Succeeded"]
    assert runs(world) == [1]
    world.check_whole()


async def test_a_job_that_is_deleted_and_applied_again_goes_on_from_its_commits(world: World) -> None:
    world.apply()
    await world.until_step(2 * EVERY + 3)
    first = world.job()
    assert first is not None
    world.delete()
    await run_until(world.clock, lambda: world.job() is None, limit_s=300)
    newest = max(world.commits())
    world.apply()
    await world.until_phase("Succeeded")
    second = world.job()
    assert second is not None
    assert runs(world) == [1, 1]
    assert plan_of(world, 2) == newest == (1, 2 * EVERY)
    assert json.loads(world.bucket.read(layout.OWNER, None).data)["jobUid"] == second["metadata"]["uid"]
    world.check_whole()


async def test_of_two_jobs_on_one_prefix_the_second_is_refused_and_the_first_undisturbed(world: World) -> None:
    world.apply()
    await world.until_step(EVERY + 2)
    world.apply(name="other")
    await world.until_phase("Failed", name="other")
    refused = world.status("other")
    assert (refused["reason"], refused["attempt"], refused.get("restarts", 0)) == ("PrefixTaken", 1, 0)
    await world.until_phase("Succeeded")
    await world.clock.advance(120)
    assert world.status("other")["attempt"] == 1, "it never restarts"
    assert world.causes() == ["Succeeded"]
    assert runs(world) == [1]
    assert json.loads(world.bucket.read(layout.OWNER, None).data)["job"] == NAME
    world.check_whole()


async def test_a_status_from_an_old_backup_goes_on_behind_the_runs_in_the_bucket(world: World) -> None:
    world.apply()
    await world.until_step(EVERY + 1)
    world.patch(suspend=True)
    await world.until_phase("Suspended")
    backup = world.status()
    world.patch(suspend=False)
    await world.until_phase("Running")
    await break_at(world, 2, 2 * EVERY + 1)
    world.patch(suspend=True)
    await world.until_phase("Suspended")
    assert world.status()["attempt"] == 3
    world.set_status(backup)
    world.patch(suspend=False)
    await world.until_phase("Succeeded")
    rows = [(row["attempt"], row["cause"]) for row in world.status()["attempts"]]
    assert rows == [(1, "Suspended"), (2, "Superseded"), (4, "Succeeded")]
    assert world.status().get("restarts", 0) == 0
    assert runs(world) == [1, 2, 3, 4]
    world.check_whole()


async def test_an_old_status_while_the_pods_of_a_later_attempt_run(world: World) -> None:
    world.apply()
    await world.until_phase("Running")
    backup = world.status()
    await break_at(world, 1, EVERY + 1)
    await world.clock.advance(2)
    world.set_status(backup)
    await world.until_phase("Succeeded")
    rows = [(row["attempt"], row["cause"]) for row in world.status()["attempts"]]
    assert rows == [(1, "Superseded"), (3, "Succeeded")]
    world.check_whole()


async def test_a_status_that_is_wiped_while_pods_of_the_first_attempt_run_goes_on_with_them(world: World) -> None:
    world.apply()
    await world.until_step(EVERY + 3)
    world.set_status({})
    await world.until_phase("Succeeded")
    assert [(row["attempt"], row["cause"]) for row in world.status()["attempts"]] == [(1, "Succeeded")]
    assert runs(world) == [1]
    world.check_whole()


async def test_a_status_that_is_wiped_while_pods_of_a_later_attempt_run_goes_on_behind_them(world: World) -> None:
    world.apply()
    await break_at(world, 1, EVERY + 1)
    await world.until_phase("Running")
    world.set_status({})
    await run_until(world.clock, lambda: world.status().get("attempt") == 3, limit_s=60)
    await world.until_phase("Succeeded")
    assert [(row["attempt"], row["cause"]) for row in world.status()["attempts"]] == [(3, "Succeeded")]
    assert runs(world) == [1, 2, 3]
    world.check_whole()


async def test_creates_that_arrive_when_the_job_is_suspended_and_another_leads_are_undone(world: World) -> None:
    """They were the first attempt's, which no status told of: the next leader finds nothing, then pods."""

    def on_their_way(method: str, path: str) -> bool:
        job = world.job()
        guarded = job is not None and "finalizers" in job["metadata"] and not job.get("status")
        return method == "POST" and path.endswith("/pods") and guarded

    world.server.faults.hold_request(on_their_way, 60.0, times=99)
    world.apply()
    await run_until(world.clock, lambda: len(world.server.all("services")) == 1, limit_s=30)
    await world.clock.advance(1)
    await world.kill_leader()
    world.patch(suspend=True)
    await world.until_phase("Suspended", limit_s=55)
    assert "attempt" not in world.status()
    await run_until(world.clock, lambda: len(world.server.all("pods")) == 2, limit_s=60)
    await run_until(world.clock, lambda: not world.server.all("pods"), limit_s=120)
    await world.until_phase("Suspended")
    assert [(row["attempt"], row["cause"]) for row in world.status()["attempts"]] == [(1, "Suspended")]
    world.patch(suspend=False)
    await world.until_phase("Succeeded")
    world.check_whole()
