"""What restore does with damage, orders, other shapes, and what is left on a volume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.wire import Outcome
from holdfast.checkpoint import layout
from tests.support.bucket import Hook
from tests.support.clock import run_until
from tests.support.gang import Gang, order, tree


async def committed(gang: Gang, attempt: int, *steps: int, **fields: Any) -> None:
    gang.begin(attempt, **fields)
    assert {outcome.kind for outcome in (await gang.restore()).values()} == {"Restored"}
    for step in steps:
        gang.save(step)
        await gang.settle()


async def ends(gang: Gang, attempt: int, **fields: Any) -> dict[str, Outcome]:
    gang.begin(attempt, **fields)
    return await gang.restore()


def damage_flip(gang: Gang, name: str) -> None:
    gang.bucket.damage(name)


def damage_delete(gang: Gang, name: str) -> None:
    del gang.bucket.objects[name]


def damage_replace(gang: Gang, name: str) -> None:
    gang.bucket.write(name, b"something else", None)


DATA = layout.data_object(1, 300, "0-1", "state/d/array")
PART = layout.part(1, 300, "0-1")
COMMIT = layout.commit(1, 300)


@pytest.mark.parametrize("harm", [damage_flip, damage_delete, damage_replace])
@pytest.mark.parametrize("name", [DATA, PART, COMMIT])
async def test_proven_damage_leads_all_slots_to_the_next_older_commit(tmp_path: Path, harm: Any, name: str) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, 300)
    saved = {slot: tree(gang.data(slot) / "200") for slot in gang.slots}
    if name == COMMIT and harm is damage_flip:
        gang.bucket.write(name, b'{"version":1,"run":', None)
    else:
        harm(gang, name)
    outcomes = await ends(gang, 2)
    assert {(outcome.kind, outcome.step) for outcome in outcomes.values()} == {("Restored", 200)}
    assert {slot: tree(gang.data(slot) / "200") for slot in gang.slots} == saved
    if name == COMMIT and harm is damage_delete:
        # What is not committed any more is not damage of a commit.
        return
    found = {damage for outcome in outcomes.values() for damage in outcome.damages}
    assert {(damage.run, damage.step) for damage in found} == {(1, 300)}
    assert {damage.object for damage in found} == {name}
    # A vetoed commit is off the chain: it stays, and nobody proposes it again.
    assert {outcome.step for outcome in (await ends(gang, 3)).values()} == {200}
    assert "runs/00000003/restore/0002/plan.json" not in gang.bucket.objects


async def test_when_every_commit_is_damaged_the_job_cannot_go_on(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200)
    for name in gang.bucket.names("runs/", "0-0/state/d/array"):
        gang.bucket.damage(name)
    outcomes = await ends(gang, 2)
    assert {outcome.kind for outcome in outcomes.values()} == {"NoRestorableCheckpoint"}
    assert sorted(damage.step for damage in outcomes["0-1"].damages) == [100, 200]
    assert [list(gang.data(slot).iterdir()) for slot in gang.slots] == [[], []]
    outcomes = await ends(gang, 3, restore=order("None"))
    assert {(outcome.kind, outcome.step) for outcome in outcomes.values()} == {("Restored", None)}


async def test_lost_records_of_the_rounds_are_not_taken_for_an_empty_prefix(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100)
    for name in gang.bucket.names("runs/00000001/restore/"):
        del gang.bucket.objects[name]
    assert (await ends(gang, 2))["0-0"].kind == "NoRestorableCheckpoint"


async def test_an_order_is_served_once(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, 300)
    back = order("Step", 100)
    assert {outcome.step for outcome in (await ends(gang, 2, restore=back)).values()} == {100}
    gang.save(150)
    await gang.settle()
    assert {outcome.step for outcome in (await ends(gang, 3, restore=back)).values()} == {150}
    # The steps that the rewind left behind are kept, and are nobody's newest.
    assert layout.commit(1, 300) in gang.bucket.objects
    assert {outcome.step for outcome in (await ends(gang, 4)).values()} == {150}
    # Another order is served again, and one of a job created anew too.
    assert {outcome.step for outcome in (await ends(gang, 5, restore=order("None"))).values()} == {None}
    assert {outcome.step for outcome in (await ends(gang, 6, restore=order("None"))).values()} == {None}
    gang.save(10)
    await gang.settle()
    assert {outcome.step for outcome in (await ends(gang, 7, restore=order("None"))).values()} == {10}
    anew = {"job_uid": "uid-2", "job_created": "2031-01-01T00:00:00Z"}
    assert {outcome.step for outcome in (await ends(gang, 1, restore=order("None"), **anew)).values()} == {None}


async def test_an_attempt_that_never_agreed_has_not_served_its_order(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200)
    back = order("Step", 100)
    gang.begin(2, restore=back)
    task = gang.spawner.spawn(gang.restore_step("0-0").run(), name="alone")
    await run_until(gang.clock, lambda: gang.clock.elapsed > 200, limit_s=300)
    task.cancel()
    assert {outcome.step for outcome in (await ends(gang, 3, restore=back)).values()} == {100}


async def test_a_step_that_is_not_committed_is_refused_by_name(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200)
    outcomes = await ends(gang, 2, restore=order("Step", 150))
    assert {outcome.kind for outcome in outcomes.values()} == {"RestoreRefused"}
    assert "step 150 is not committed: set restore.step to one of" in outcomes["0-0"].message
    assert "(200, 100)" in outcomes["0-0"].message


async def test_a_damaged_ordered_step_falls_back_to_the_next_older(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200, 300)
    gang.bucket.damage(layout.data_object(1, 200, "0-0", "state/d/array"))
    assert {outcome.step for outcome in (await ends(gang, 2, restore=order("Step", 200))).values()} == {100}


async def test_another_number_of_slots_is_refused(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100)
    gang.parts = 3
    outcomes = await ends(gang, 2)
    assert {outcome.kind for outcome in outcomes.values()} == {"RestoreRefused"}
    assert "committed by 2 slots and this job has 3: go back to the old number" in outcomes["0-2"].message


async def test_a_newer_programs_manifest_is_no_damage(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100, 200)
    name = layout.commit(1, 200)
    gang.bucket.write(name, gang.bucket.objects[name].data.replace(b'"version":1', b'"version":2'), None)
    outcome = (await ends(gang, 2))["0-0"]
    assert outcome.kind == "RestoreRefused"
    assert "newer than this Holdfast understands" in outcome.message


async def test_a_missing_bucket_is_reported_and_waited_for(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    gang.bucket.exists = False
    gang.begin(1)
    step = gang.restore_step("0-0")
    task = gang.spawner.spawn(step.run(), name="restore")
    await run_until(gang.clock, lambda: not step.state.store.ready, limit_s=1)
    assert step.state.store.reason == "BucketNotFound"
    assert "create it, or change spec.checkpoint.destination" in step.state.store.message
    gang.bucket.exists, gang.bucket.denied = True, True
    await run_until(gang.clock, lambda: step.state.store.reason == "AccessDenied", limit_s=60)
    gang.bucket.denied = False
    await run_until(gang.clock, task.done, limit_s=60)
    assert (await task).kind == "Restored"
    assert step.state.store.ready


async def test_a_full_volume_is_reported_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100)
    gang.begin(2)
    step = gang.restore_step("0-0")
    full = True

    async def before(verb: str, name: str) -> None:
        if verb == "get_stream" and full:
            raise OSError(28, "No space left on device")

    gang.stores["0-0"].faults = Hook(on_before=before)
    task = gang.spawner.spawn(step.run(), name="restore")
    await run_until(gang.clock, lambda: "No space left" in step.state.waiting_for, limit_s=60)
    full = False
    await run_until(gang.clock, task.done, limit_s=60)
    assert (await task).step == 100


async def test_a_local_copy_is_used_where_it_equals_the_commit(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100, 200)
    gang.save(300, "0-0")
    (gang.data("0-1") / "200" / "state" / "d" / "array").write_bytes(b"rotten")
    (gang.data("0-1") / "200" / "stray").write_bytes(b"not of the commit")
    reads: list[str] = []

    async def before(verb: str, name: str) -> None:
        if verb == "get_stream":
            reads.append(name)

    gang.faults = dict.fromkeys(gang.slots, Hook(on_before=before))
    gang.begin(2, fresh_volumes=False)
    assert {outcome.step for outcome in (await gang.restore()).values()} == {200}
    assert reads == [layout.data_object(1, 200, "0-1", "state/d/array")]
    for slot in gang.slots:
        # The step that only one host has would make the framework hang.
        assert [path.name for path in gang.data(slot).iterdir()] == ["200"]
        assert [path.name for path in (gang.volumes[slot] / "data").iterdir()] == ["2"]
        assert not (gang.data(slot) / "200" / "stray").exists()


async def test_restore_run_again_in_the_same_pod_leaves_the_trainers_work_alone(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang, 1, 100)
    assert (await ends(gang, 2))["0-0"].step == 100
    gang.save(150)
    before = tree(gang.data("0-0"))
    assert (await gang.run(gang.restore_step("0-0").run())).step == 100
    assert tree(gang.data("0-0")) == before


async def test_damage_found_after_an_own_word_ends_the_pod(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang, 1, 100)
    gang.begin(2)
    task = gang.spawner.spawn(gang.restore_step("0-0").run(), name="first")
    other = gang.spawner.spawn(gang.restore_step("0-1").run(), name="second")
    await run_until(gang.clock, lambda: layout.verdict(2, 1, "0-0") in gang.bucket.objects, limit_s=60)
    for one in (task, other):
        one.cancel()
    for path in (gang.volumes["0-0"] / "state/0-0/2/incoming").rglob("array"):
        path.write_bytes(b"lost with the disk")
    gang.bucket.damage(layout.data_object(1, 100, "0-0", "state/d/array"))
    outcome = await gang.run(gang.restore_step("0-0").run())
    assert outcome.kind == "Interrupted"
    assert [damage.object for damage in outcome.damages] == [layout.data_object(1, 100, "0-0", "state/d/array")]


async def test_without_a_destination_only_the_volume_is_prepared(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    outcome = (await ends(gang, 1, destination=""))["0-0"]
    assert (outcome.kind, outcome.run, outcome.step) == ("Restored", None, None)
    gang.save(100)
    await gang.settle()
    assert gang.keepers["0-0"].state.last_complete == 100
    assert gang.bucket.objects == {}


async def test_root_opens_the_trainers_directory_to_all(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await ends(gang, 1)
    opened = gang.data("0-0").stat().st_mode & 0o777
    assert opened == 0o777 if os.geteuid() == 0 else opened & 0o700 == 0o700


async def test_no_name_of_a_step_is_in_the_way_of_its_own_download(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    gang.begin(1)
    await gang.restore()
    step = gang.data("0-0") / "100"
    gang.save(100)
    for name in ("x", "x.part", "x.part.part", "y" * 255):
        (step / name).write_bytes(name.encode() * 1000)
    saved = tree(step)
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 100
    gang.begin(2)
    assert (await gang.restore(limit_s=60))["0-0"].step == 100
    assert tree(gang.data("0-0") / "100") == saved
    assert not (gang.volumes["0-0"] / "state/0-0/2/incoming").exists()
