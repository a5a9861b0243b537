"""Retention deletes what is no longer needed, and nothing that is."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoint import layout
from holdfast.seams import PermissionDenied, StoreUnavailable
from tests.support.bucket import Hook
from tests.support.gang import Gang, order, tree


async def committed(gang: Gang, attempt: int, *steps: int, **fields: Any) -> None:
    gang.begin(attempt, **fields)
    assert {outcome.kind for outcome in (await gang.restore()).values()} == {"Restored"}
    for step in steps:
        gang.save(step)
        await gang.settle()


def kept(gang: Gang) -> list[tuple[int, int] | None]:
    return [layout.parse_commit(name) for name in gang.commits()]


async def test_only_the_newest_of_the_chain_are_kept_and_no_remainder_is_left(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, 300, 400, 500, keep_last=3)
    assert kept(gang) == [(1, 300), (1, 400), (1, 500)]
    assert {layout.parse_step(name) for name in gang.bucket.names("runs/00000001/steps/")} == {
        (1, 300),
        (1, 400),
        (1, 500),
    }
    assert [commit.step for commit in gang.keepers["0-0"].state.commits][-3:] == [300, 400, 500]


async def test_at_least_two_are_kept(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100, 200, 300, keep_last=0)
    assert kept(gang) == [(1, 200), (1, 300)]


async def test_what_the_newest_run_was_restored_from_is_kept(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, keep_last=2)
    await committed(gang, 2, 300, 400, 500, keep_last=2)
    assert kept(gang) == [(1, 200), (2, 400), (2, 500)]
    await committed(gang, 3, 600, 700, keep_last=2)
    assert kept(gang) == [(2, 500), (3, 600), (3, 700)]


async def test_commits_off_the_chain_are_neither_counted_nor_deleted(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, 300, keep_last=3)
    await committed(gang, 2, 150, 160, keep_last=3, restore=order("Step", 100))
    assert kept(gang) == [(1, 100), (1, 200), (1, 300), (2, 150), (2, 160)]
    await committed(gang, 3, 170, keep_last=3)
    assert kept(gang) == [(1, 200), (1, 300), (2, 150), (2, 160), (3, 170)]


async def test_a_new_run_deletes_nothing_before_its_own_commit(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, 300, keep_last=3)
    gang.begin(2, keep_last=2)
    await gang.restore()
    await gang.settle()
    assert kept(gang) == [(1, 100), (1, 200), (1, 300)]


async def test_half_sent_steps_of_dead_runs_are_removed(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100)
    gang.save(200, "0-0")
    await gang.run(gang.keepers["0-0"].tick())
    assert gang.bucket.names(layout.step_folder(1, 200))
    await committed(gang, 2, 150)
    assert gang.bucket.names(layout.step_folder(1, 200)) == []
    assert kept(gang) == [(1, 100), (2, 150)]


async def test_the_manifest_goes_first_and_the_rest_is_finished_later(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100, 200, keep_last=2)

    async def before(verb: str, name: str) -> None:
        if verb == "delete" and "/data/" in name:
            raise StoreUnavailable("away")

    gang.stores["0-0"].faults = Hook(on_before=before)
    gang.save(300)
    await gang.settle()
    order_ = [name for verb, name in gang.bucket.history if verb == "delete"]
    assert order_ == [layout.commit(1, 100), layout.part(1, 100, "0-0")]
    state = gang.keepers["0-0"].state
    assert (state.committed, state.store.ready, state.store.reason) == (300, True, "RetentionFailed")
    gang.stores["0-0"].faults = Hook()
    gang.save(400)
    await gang.settle()
    assert {layout.parse_step(name) for name in gang.bucket.names("runs/00000001/steps/")} == {(1, 300), (1, 400)}
    assert gang.keepers["0-0"].state.store.reason == "Ready"


async def test_missing_rights_to_delete_cost_nothing_but_room(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)

    async def before(verb: str, name: str) -> None:
        if verb == "delete":
            raise PermissionDenied("no storage.objects.delete")

    gang.faults["0-0"] = Hook(on_before=before)
    await committed(gang, 1, 100, 200, 300, keep_last=2)
    state = gang.keepers["0-0"].state
    assert (state.committed, state.store.reason) == (300, "RetentionFailed")
    assert "no storage.objects.delete" in state.store.message
    assert kept(gang) == [(1, 100), (1, 200), (1, 300)]


@pytest.mark.parametrize("seed", range(12))
async def test_after_any_history_what_is_newest_is_whole(tmp_path: Path, seed: int) -> None:
    """Random lives: saves, restarts, rewinds, damage. Every restore gives exactly what was saved for that step."""
    gang = Gang(tmp_path, parts=2, seed=seed)
    chance = gang.random
    saved: dict[tuple[int, int], dict[str, dict[str, object]]] = {}
    step = 0
    for attempt in range(1, 9):
        live = sorted(key for key in (layout.parse_commit(name) for name in gang.commits()) if key)
        fields: dict[str, Any] = {"keep_last": 2 + attempt % 2}
        if live and chance.uniform(0, 1) < 0.25:
            fields["restore"] = order("None", digest=f"digest-{attempt}")
        gang.begin(attempt, **fields)
        outcomes = await gang.restore()
        assert {outcome.kind for outcome in outcomes.values()} == {"Restored"}, outcomes
        steps = {outcome.step for outcome in outcomes.values()}
        assert len(steps) == 1
        restored = steps.pop()
        if restored is not None:
            run = max(run for run, kept_step in saved if kept_step == restored)
            assert {slot: tree(gang.data(slot) / str(restored)) for slot in gang.slots} == saved[run, restored]
        for _ in range(int(chance.uniform(0, 4))):
            step += 10
            gang.save(step, seed=str(attempt))
            saved[attempt, step] = {slot: tree(gang.data(slot) / str(step)) for slot in gang.slots}
            await gang.settle()
            assert gang.keepers["0-0"].state.committed == step
    created = Counter(name for verb, name in gang.bucket.history if verb == "put" and name.endswith("commit.json"))
    assert set(created.values()) <= {1}


async def test_a_restarted_slot_never_commits_what_is_being_deleted(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, keep_last=2)
    gang.save(300)
    await gang.run(gang.keepers["0-1"].tick())
    gang.keeper("0-1")
    deleting = False

    async def slowly(verb: str, name: str) -> None:
        nonlocal deleting
        if verb == "delete" and name != layout.commit(1, 100):
            deleting = True
            await gang.clock.sleep(30)

    async def before(verb: str, name: str) -> None:
        # The restarted slot has listed commit 100; before it reads it, the other one commits 300 and begins to delete.
        if layout.commit(1, 100) == name and not deleting:
            gang.stores["0-0"].faults = Hook(on_before=slowly)
            gang.spawner.spawn(gang.keepers["0-0"].tick(), name="other")
            while not deleting:
                await gang.clock.sleep(0.1)

    gang.stores["0-1"].faults = Hook(on_before=before)
    await gang.run(gang.keepers["0-1"].tick())
    await gang.run(gang.clock.sleep(600))
    assert deleting
    assert [change for change in gang.bucket.history if change[1] == layout.commit(1, 100)] == [
        ("put", layout.commit(1, 100)),
        ("delete", layout.commit(1, 100)),
    ]
    assert kept(gang) == [(1, 200), (1, 300)]


async def test_a_commit_that_comes_after_its_step_was_deleted_is_withdrawn(tmp_path: Path) -> None:
    """A slot that is two steps ahead stalls between its look and its commit; others commit, and retention works."""
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, keep_last=2)
    steps, name = (100, 200, 300), layout.commit(1, 100)
    for step in steps:
        gang.save(step, "0-1")
        await gang.run(gang.keepers["0-1"].tick())
    await gang.run(gang.clock.sleep(60))
    stalled, go_on = asyncio.Event(), asyncio.Event()

    async def stall(verb: str, where: str) -> None:
        if (verb, where) == ("put", name):
            stalled.set()
            await go_on.wait()

    async def wait_for_the_other(verb: str, where: str) -> None:
        if (verb, where) == ("put", name):
            gang.stores["0-0"].faults = Hook()
            gang.spawner.spawn(gang.keepers["0-1"].tick(), name="stalled")
            await stalled.wait()

    gang.stores["0-1"].faults = Hook(on_before=stall)
    gang.stores["0-0"].faults = Hook(on_before=wait_for_the_other)
    for step in steps:
        gang.save(step, "0-0")
        await gang.run(gang.keepers["0-0"].tick())
    assert kept(gang) == [(1, 200), (1, 300)]
    go_on.set()
    await gang.settle()
    assert kept(gang) == [(1, 200), (1, 300)]
    assert [commit.step for commit in gang.keepers["0-1"].state.commits] == [300]
    assert gang.keepers["0-1"].state.damages == ()
    assert gang.keepers["0-1"].state.committed == 300
