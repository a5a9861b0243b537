"""Layout Shared: one volume for all hosts, one part a commit, and slot 0 alone restores, detects and uploads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.wire import Outcome
from holdfast.checkpoint.volume import RunState, Volume
from tests.support.clock import run_until
from tests.support.gang import Gang, order, tree, write_step

SLOTS = 3


@pytest.fixture
def gang(tmp_path: Path) -> Gang:
    made = Gang(tmp_path, parts=SLOTS)
    made.fields = {"layout": "Shared"}
    return made


async def started(gang: Gang, attempt: int, **fields: Any) -> dict[str, Outcome]:
    gang.begin(attempt, fresh_volumes=False, **fields)
    return await gang.restore()


async def saved(gang: Gang, *steps: int) -> None:
    """The trainers write these steps together, into their one directory."""
    for step in steps:
        gang.save(step, "0-0", seed=str(gang.configs["0-0"].attempt))
        await gang.settle()


def kinds(outcomes: dict[str, Outcome]) -> set[tuple[str, int | None]]:
    return {(outcome.kind, outcome.step) for outcome in outcomes.values()}


def parts_in_the_bucket(gang: Gang) -> set[str]:
    return {name.rsplit("/", 1)[1] for name in gang.bucket.names("runs/", ".json") if "/parts/" in name}


async def test_one_slot_commits_for_all_and_the_others_see_and_report_it(gang: Gang) -> None:
    assert kinds(await started(gang, 1)) == {("Restored", None)}
    await saved(gang, 100)
    states = {slot: keeper.state for slot, keeper in gang.keepers.items()}
    assert states["0-0"].committed == 100
    for slot in ("0-1", "0-2"):
        assert states[slot].last_complete == 100, "a drain waits for it"
        assert (states[slot].part_written, states[slot].committed, states[slot].run) == (None, None, 1)
        assert states[slot].takes_part is False
    assert parts_in_the_bucket(gang) == {"0-0.json"}
    assert gang.bucket.names("runs/", "inventory/0-1.json") == []


async def test_the_others_wait_until_the_step_is_in_its_place(gang: Gang) -> None:
    await started(gang, 1)
    await saved(gang, 100)
    content = tree(gang.data("0-0") / "100")
    gang.begin(2)
    followers = {slot: gang.restore_step(slot) for slot in ("0-1", "0-2")}
    tasks = {slot: gang.spawner.spawn(step.run(), name=slot) for slot, step in followers.items()}
    await gang.clock.advance(60)
    assert not any(task.done() for task in tasks.values())
    first = gang.restore_step("0-0")
    leading = gang.spawner.spawn(first.run(), name="0-0")
    await run_until(gang.clock, leading.done, limit_s=60)
    assert tree(gang.data("0-0") / "100") == content
    await run_until(gang.clock, lambda: all(task.done() for task in tasks.values()), limit_s=60)
    assert {task.result().step for task in tasks.values()} == {100}


async def test_the_followers_never_start_on_a_step_that_is_still_being_fetched(gang: Gang) -> None:
    """The first slot dies between the agreement and the end of its placing, and returns."""
    await started(gang, 1)
    await saved(gang, 100)
    gang.begin(2)
    follower = gang.spawner.spawn(gang.restore_step("0-1").run(), name="0-1")
    await gang.run(gang.restore_step("0-0").run())
    # Its record of being done is lost, as if it had died just before.
    (gang.volumes["0-0"] / "state/0-0/2/run.json").unlink()
    (gang.volumes["0-0"] / "state/0-1/2/run.json").unlink(missing_ok=True)
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    waiting = gang.restore_step("0-1")
    task = gang.spawner.spawn(waiting.run(), name="0-1")
    await gang.clock.advance(60)
    assert not task.done()
    assert waiting.state.waiting_for == "the first slot to put the restored step on the shared volume"
    assert (await gang.run(gang.restore_step("0-0").run())).step == 100
    await run_until(gang.clock, task.done, limit_s=60)
    assert task.result().step == 100


async def test_the_first_slots_sidecar_dies_and_returns(gang: Gang) -> None:
    await started(gang, 1)
    gang.save(100, "0-0")
    await gang.run(gang.keepers["0-0"].look())
    gang.keeper("0-0")
    # The trainer's own retention is faster than the new life of the sidecar.
    (gang.data("0-0") / "100").rename(gang.root / "gone")
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 100


async def test_another_slots_sidecar_may_die_at_any_time(gang: Gang) -> None:
    await started(gang, 1)
    await saved(gang, 100)
    gang.keeper("0-1")
    await gang.settle()
    await saved(gang, 200)
    assert gang.keepers["0-0"].state.committed == 200
    assert gang.keepers["0-1"].state.restored_step is None


async def test_every_slot_is_told_the_same_step_and_local_steps_are_used_again(gang: Gang) -> None:
    await started(gang, 1)
    await saved(gang, 100, 200)
    inode = (gang.data("0-0") / "200/state/d/array").stat().st_ino
    assert kinds(await started(gang, 2)) == {("Restored", 200)}
    assert (gang.data("0-0") / "200/state/d/array").stat().st_ino == inode, "moved, not fetched"
    assert sorted(path.name for path in (gang.volumes["0-0"] / "data").iterdir()) == ["2"]


async def test_a_rewind_leaves_no_newer_step_to_any_slot(gang: Gang) -> None:
    await started(gang, 1)
    await saved(gang, 100, 200, 300)
    assert kinds(await started(gang, 2, restore=order("Step", 100))) == {("Restored", 100)}
    assert sorted(path.name for path in gang.data("0-1").iterdir()) == ["100"]
    await saved(gang, 150)
    assert kinds(await started(gang, 3, restore=order("Step", 100))) == {("Restored", 150)}


async def test_a_survivor_of_an_older_attempt_writes_where_nobody_looks(gang: Gang) -> None:
    """Neither its trainer nor its sidecar, which share the volume and the slot's name, reach the newer attempt."""
    await started(gang, 1)
    await saved(gang, 100)
    old, old_data = gang.keepers["0-0"], gang.data("0-0")
    await started(gang, 2)
    old_data.mkdir(parents=True, exist_ok=True)
    write_step(old_data, 900, "survivor")
    await gang.run(old.declare(800, "900"))
    await gang.together({"old": old.tick()})
    assert not gang.bucket.names("runs/", "900/commit.json")
    # The new attempt's sidecar returns, and takes up nothing of it.
    gang.keeper("0-0")
    await gang.settle()
    assert gang.keepers["0-0"].state.last_complete is None
    await saved(gang, 150)
    assert gang.keepers["0-0"].state.committed == 150
    assert json.loads(gang.bucket.read("runs/00000002/steps/000000000150/commit.json", None).data)["attempt"] == 2


async def test_a_late_restore_step_of_an_older_attempt_removes_nothing_newer(gang: Gang) -> None:
    await started(gang, 1)
    await saved(gang, 100)
    gang.begin(2, fresh_volumes=False)
    late = gang.restore_step("0-0")
    await started(gang, 3)
    await saved(gang, 200)
    outcome = await gang.run(late.run())
    assert outcome.kind == "Superseded"
    assert (gang.data("0-0") / "200").is_dir()


async def test_a_job_created_anew_finds_nothing_of_its_former_life_on_the_claim(gang: Gang) -> None:
    """Attempts count from 1 again: the directory of the same number must not hold the former job's steps."""
    await started(gang, 1)
    await saved(gang, 100, 200)
    gang.save(250, "0-0")
    fresh = {"job_uid": "uid-2", "job_created": "2030-01-02T00:00:00Z"}
    assert kinds(await started(gang, 1, **fresh)) == {("Restored", 200)}
    assert sorted(path.name for path in gang.data("0-2").iterdir()) == ["200"]
    await saved(gang, 300)
    assert gang.keepers["0-0"].state.committed == 300
    # And a pod of the former job that comes late touches nothing.
    old = await started(gang, 2, job_uid="uid-1")
    assert {outcome.kind for outcome in old.values()} == {"PrefixTaken"}
    assert (gang.volumes["0-0"] / "data/1/300").is_dir()


async def test_a_flush_sends_what_is_complete_and_holds_no_follower(gang: Gang) -> None:
    await started(gang, 1)
    gang.save(100, "0-0")
    done = await gang.together({slot: gang.keepers[slot].flush(60) for slot in gang.slots})
    assert set(done.values()) == {True}
    assert {keeper.state.phase for keeper in gang.keepers.values()} == {"Flushed"}
    assert gang.keepers["0-0"].state.committed == 100


async def test_the_first_slots_last_words_tell_of_the_final_commit(gang: Gang) -> None:
    await started(gang, 1)
    gang.save(100, "0-0")
    words = {slot: await gang.run(gang.keepers[slot].finish(60)) for slot in reversed(gang.slots)}
    assert (words["0-0"].kind, words["0-0"].last_complete, words["0-0"].committed) == ("Finished", 100, 100)
    for slot in ("0-1", "0-2"):
        assert (words[slot].kind, words[slot].last_complete, words[slot].committed) == ("Finished", 100, None)


async def test_commits_of_another_layout_are_refused_with_what_to_change(gang: Gang) -> None:
    apart = Gang(gang.root / "apart", parts=2, bucket=gang.bucket)
    apart.begin(1)
    await apart.restore()
    apart.save(100)
    await apart.settle()
    gang.begin(2)
    outcome = await gang.run(gang.restore_step("0-0").run())
    assert outcome.kind == "RestoreRefused"
    assert "kind of volume (a shared claim makes one part)" in outcome.message


def test_what_the_first_slot_recorded_is_of_its_attempt(tmp_path: Path) -> None:
    Volume(tmp_path, "0-0", 1).save_run(RunState(job_uid="u", attempt=1, placed=True))
    assert Volume(tmp_path, "0-0", 2).load_run("u") is None
