"""Lost requests, lost answers, and death at every call: the end is always the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from holdfast.checkpoint import layout
from holdfast.checkpoint.manifests import Commit, decode
from tests.support.bucket import Bucket, KillAt, RandomFaults
from tests.support.gang import Gang, tree


def check_bucket(bucket: Bucket, parts: int) -> None:
    """Every commit names parts that are there, and these name data that is there, each created exactly once."""
    created = Counter(name for verb, name in bucket.history if verb == "put" and name.endswith("commit.json"))
    assert set(created.values()) <= {1}, created
    for name in bucket.names(suffix="commit.json"):
        commit = decode(name, bucket.objects[name].data, Commit)
        assert len(commit.parts) == parts
        for part in commit.parts:
            assert bucket.objects[part.object].generation == part.generation


@pytest.mark.parametrize("seed", range(25))
async def test_two_slots_commit_each_step_once_while_requests_and_answers_are_lost(tmp_path: Path, seed: int) -> None:
    gang = Gang(tmp_path, parts=2, seed=seed)
    faults = RandomFaults(gang.random, gang.clock, lost_request=0.15, lost_answer=0.15)
    gang.faults = dict.fromkeys(gang.slots, faults)
    gang.begin(1)
    assert {outcome.kind for outcome in (await gang.restore()).values()} == {"Restored"}
    for step in (100, 200, 300):
        gang.save(step, size=200_000)
        await gang.settle()
    outcomes = await gang.together({slot: gang.keepers[slot].finish() for slot in gang.slots})
    assert {(end.kind, end.last_complete, end.part_written) for end in outcomes.values()} == {("Finished", 300, 300)}
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 100), (1, 200), (1, 300)]
    check_bucket(gang.bucket, parts=2)
    saved = {slot: tree(gang.data(slot) / "300") for slot in gang.slots}
    gang.begin(2)
    assert {outcome.step for outcome in (await gang.restore()).values()} == {300}
    assert {slot: tree(gang.data(slot) / "300") for slot in gang.slots} == saved
    assert not gang.spawner.failures or all(
        name.startswith(("upload", "download")) for name, _ in gang.spawner.failures
    )


async def count_calls(tmp_path: Path) -> int:
    """Return how many calls slot 0-0's sidecar makes for two steps, undisturbed."""
    counter = KillAt(call=10**9, after_effect=False)
    gang = await two_steps(tmp_path, counter)
    check_bucket(gang.bucket, parts=2)
    return counter.count


async def two_steps(tmp_path: Path, faults: KillAt) -> Gang:
    """Commit two steps with sidecars of which the first one has the given faults and is started again when it dies."""
    gang = Gang(tmp_path, parts=2)
    gang.begin(1)
    await gang.restore()
    gang.faults["0-0"] = faults
    gang.keeper("0-0")

    async def live(slot: str) -> None:
        while len(gang.commits()) < 2 or gang.keepers[slot].state.committed != 200:
            try:
                await gang.keepers[slot].tick()
            except asyncio.CancelledError:
                if faults.count < faults.call:
                    raise
                # The next life has no faults and remembers nothing but its volume.
                gang.faults.pop("0-0", None)
                gang.keeper(slot)
            await gang.clock.sleep(1.0)

    gang.save(100, size=100_000)
    gang.save(200, size=100_000)
    await gang.together({slot: live(slot) for slot in gang.slots})
    return gang


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_sidecar_killed_at_any_call_ends_in_the_same_state(tmp_path: Path, after_effect: bool) -> None:
    calls = await count_calls(tmp_path / "undisturbed")
    assert calls > 30
    for call in range(1, calls + 1):
        gang = await two_steps(tmp_path / str(call), KillAt(call, after_effect))
        assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 100), (1, 200)], call
        check_bucket(gang.bucket, parts=2)
        assert list((gang.volumes["0-0"] / "state/0-0/1/pins").iterdir()) == [], call
        assert list((gang.volumes["0-0"] / "state/0-0/1/journal").iterdir()) == [], call


async def committed_gang(root: Path) -> Gang:
    gang = Gang(root, parts=2)
    gang.begin(1)
    await gang.restore()
    gang.save(100, size=100_000)
    await gang.settle()
    gang.begin(2)
    return gang


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_restore_killed_at_any_call_ends_in_the_same_state(tmp_path: Path, after_effect: bool) -> None:
    counting = await committed_gang(tmp_path / "undisturbed")
    counter = KillAt(call=10**9, after_effect=False)
    counting.faults["0-0"] = counter
    await counting.restore()
    for call in range(1, counter.count + 1):
        gang = await committed_gang(tmp_path / str(call))
        kill = gang.faults["0-0"] = KillAt(call, after_effect)

        async def restore_again(gang: Gang = gang, kill: KillAt = kill) -> object:
            try:
                return await gang.restore_step("0-0").run()
            except asyncio.CancelledError:
                assert kill.count >= kill.call
                gang.faults.clear()
                return await gang.restore_step("0-0").run()

        await gang.together({"0-0": restore_again(), "0-1": gang.restore_step("0-1").run()})
        outcome = await gang.run(gang.restore_step("0-0").run())
        assert (outcome.kind, outcome.run, outcome.step) == ("Restored", 2, 100), call
        assert [path.name for path in gang.data("0-0").iterdir()] == ["100"]
        assert gang.bucket.names("runs/00000002/restore/", "plan.json") == ["runs/00000002/restore/0001/plan.json"]
