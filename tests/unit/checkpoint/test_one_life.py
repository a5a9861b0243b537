"""A job's checkpoints from the first save to a restart, on real directories."""

from __future__ import annotations

from pathlib import Path

from tests.support.gang import Gang, tree


async def test_a_gang_saves_dies_and_goes_on_from_its_last_commit(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    gang.begin(1)
    outcomes = await gang.restore()
    assert {outcome.kind for outcome in outcomes.values()} == {"Restored"}
    assert {outcome.step for outcome in outcomes.values()} == {None}

    gang.save(100)
    gang.save(200)
    await gang.settle()
    gang.save(300, "0-0")
    await gang.together({slot: gang.keepers[slot].tick() for slot in gang.slots})
    assert gang.commits() == [f"runs/00000001/steps/{step:012d}/commit.json" for step in (100, 200)]
    assert gang.keepers["0-0"].state.waiting_for == "the other slots' parts of step 300"
    saved = {slot: tree(gang.data(slot) / "200") for slot in gang.slots}

    gang.begin(2)
    outcomes = await gang.restore()
    assert {(outcome.kind, outcome.run, outcome.step) for outcome in outcomes.values()} == {("Restored", 2, 200)}
    for slot in gang.slots:
        assert [path.name for path in gang.data(slot).iterdir()] == ["200"]
        assert tree(gang.data(slot) / "200") == saved[slot]

    gang.save(300)
    await gang.settle()
    assert gang.commits()[-1] == "runs/00000002/steps/000000000300/commit.json"
    assert not gang.bucket.names("runs/00000002/steps/000000000200/"), "a restored step is never uploaded again"
    state = gang.keepers["0-0"].state
    assert (state.restored_step, state.last_complete, state.part_written, state.committed) == (200, 300, 300, 300)
    assert [commit.step for commit in state.commits] == [200, 300]
