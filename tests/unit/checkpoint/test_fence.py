"""Whose prefix it is, who may commit, and who goes on from what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoint import layout
from tests.support.bucket import Hook
from tests.support.gang import Gang


async def committed(gang: Gang, attempt: int, *steps: int, **fields: Any) -> None:
    """Restore an attempt and commit steps in it."""
    gang.begin(attempt, **fields)
    assert {outcome.kind for outcome in (await gang.restore()).values()} == {"Restored"}
    for step in steps:
        gang.save(step)
        await gang.settle()


async def test_a_superseded_sidecar_never_commits(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100)
    survivors, old_data = dict(gang.keepers), {slot: gang.data(slot) for slot in gang.slots}
    gang.save(200)
    await gang.run(survivors["0-0"].tick())
    gang.begin(2)
    assert {outcome.step for outcome in (await gang.restore()).values()} == {100}
    before = dict(gang.bucket.objects)
    outcomes = await gang.together({slot: survivors[slot].finish() for slot in gang.slots})
    # The slot whose part was written already has nothing left to do, and so no reason to look at the fence.
    assert [outcomes[slot].kind for slot in gang.slots] == ["Finished", "Superseded"]
    assert (outcomes["0-1"].seen_attempt, outcomes["0-1"].seen_uid) == (2, "uid-1")
    assert not gang.bucket.names("runs/00000001/steps/000000000200/data/0-1/"), "a superseded slot sends nothing more"
    assert not [name for name in gang.bucket.objects if name not in before and name.endswith("commit.json")]
    assert survivors["0-0"].state.committed == 100
    assert all(path.exists() for path in old_data.values())


async def test_a_commit_that_lands_after_the_fence_is_an_orphan_and_nobody_goes_on_from_it(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100)
    survivor = gang.keepers["0-0"]
    gang.save(200)
    store = gang.stores["0-0"]
    successor = Gang(tmp_path / "successor", parts=1, bucket=gang.bucket)
    successor.clock, successor.spawner = gang.clock, gang.spawner

    async def before(verb: str, name: str) -> None:
        if verb == "put" and name == layout.commit(1, 200):
            # Between the look at the fence and the commit, a whole new attempt takes over.
            store.faults = Hook()
            successor.begin(2)
            assert (await successor.restore_step("0-0").run()).step == 100

    store.faults = Hook(on_before=before)
    await gang.run(survivor.tick())
    assert layout.commit(1, 200) in gang.bucket.objects
    assert survivor.state.committed == 100
    assert survivor.state.superseded_by == 2
    successor.keeper("0-0")
    successor.save(150)
    await successor.settle()
    successor.begin(3)
    assert (await successor.restore())["0-0"].step == 150
    assert layout.commit(1, 200) in gang.bucket.objects, "an orphan is kept"


async def test_an_older_attempt_that_comes_late_is_superseded(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 5, 100)
    gang.begin(4)
    outcomes = await gang.restore()
    assert {(end.kind, end.seen_attempt, end.seen_uid, end.run) for end in outcomes.values()} == {
        ("Superseded", 5, "uid-1", 1)
    }


async def test_a_job_created_anew_goes_on_from_its_predecessors_commits(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 7, 100, 200)
    gang.begin(1, job_uid="uid-0", job_created="2030-01-02T00:00:00Z")
    outcomes = await gang.restore()
    assert {(outcome.kind, outcome.step, outcome.run) for outcome in outcomes.values()} == {("Restored", 200, 2)}
    gang.begin(8)
    assert {(end.kind, end.seen_uid) for end in (await gang.restore()).values()} == {("PrefixTaken", "uid-0")}


@pytest.mark.parametrize("fields", [{"job": "other"}, {"namespace": "elsewhere"}])
async def test_another_job_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100)
    gang.begin(1, job_uid="uid-2", job_created="2031-01-01T00:00:00Z", **fields)
    outcomes = await gang.restore()
    assert {(outcome.kind, outcome.seen_uid) for outcome in outcomes.values()} == {("PrefixTaken", "uid-1")}
    assert "belongs to the job team/digits: choose another prefix" in outcomes["0-0"].message
    assert gang.bucket.names("runs/", "run.json") == ["runs/00000001/run.json"]


async def test_an_emptied_prefix_stops_the_sidecar(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100)
    gang.bucket.objects.clear()
    gang.save(200)
    outcome = await gang.run(gang.keepers["0-0"].finish())
    assert outcome.kind == "Superseded"
    assert "were deleted from the destination" in outcome.message
    assert gang.commits() == []


async def test_slots_of_one_attempt_share_a_run_however_they_race(tmp_path: Path) -> None:
    for seed in range(20):
        gang = Gang(tmp_path / str(seed), parts=4, seed=seed)
        gang.begin(1)
        assert {outcome.run for outcome in (await gang.restore()).values()} == {1}
