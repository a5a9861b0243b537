"""The sidecar's engine against a trainer that does not wait for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoint import layout
from holdfast.checkpoint.errors import NotRestored
from holdfast.checkpoint.manifests import Part, decode
from holdfast.seams import StoreUnavailable
from tests.support.bucket import Hook
from tests.support.gang import Gang, tree, write_step


async def started(root: Path, parts: int = 1, **fields: Any) -> Gang:
    gang = Gang(root, parts=parts)
    gang.begin(1, **fields)
    await gang.restore()
    return gang


def data_of(gang: Gang, step: int, slot: str = "0-0") -> bytes:
    return gang.bucket.objects[layout.data_object(1, step, slot, "state/d/array")].data


async def test_a_part_says_everything_about_a_step(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    odd = gang.data("0-0") / "100" / "odd #1 [x].bin"
    odd.write_bytes(b"odd")
    odd.chmod(0o640)
    await gang.settle()
    name = layout.part(1, 100, "0-0")
    part = decode(name, gang.bucket.objects[name].data, Part)
    assert (part.run, part.step, part.attempt, part.slot, part.parts) == (1, 100, 1, "0-0", 1)
    assert (part.directory, part.format, part.evidence) == ("100", "Orbax", "Explicit")
    assert {entry.path for entry in part.directories} == {".", "empty", "state", "state/d"}
    assert [(link.path, link.target) for link in part.symlinks] == [("link", "state/_METADATA")]
    files = {entry.path: entry for entry in part.files}
    assert set(files) == {"commit_success.txt", "odd #1 [x].bin", "state/_METADATA", "state/d/array", "zero"}
    assert files["odd #1 [x].bin"].object.endswith("/data/0-0/odd %231 %5Bx%5D.bin")
    for entry in part.files:
        stored = gang.bucket.objects[entry.object]
        path = gang.data("0-0") / "100" / entry.path
        assert (stored.data, stored.generation, stored.crc32c) == (path.read_bytes(), entry.generation, entry.crc32c)
        assert (entry.mode, entry.mtime_ns) == (path.stat().st_mode & 0o7777, path.stat().st_mtime_ns)
    commit = gang.keepers["0-0"].state.commits[-1]
    assert (commit.step, commit.parts, commit.bytes) == (100, 1, part.bytes)
    assert commit.object == "gs://test/digits/runs/00000001/steps/000000000100/commit.json"


async def test_the_trainer_may_delete_a_step_while_it_is_sent(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100, size=400_000)
    saved = tree(gang.data("0-0") / "100")

    async def before(verb: str, name: str) -> None:
        if verb.startswith("put"):
            shutil.rmtree(gang.data("0-0") / "100", ignore_errors=True)

    gang.stores["0-0"].faults = Hook(on_before=before)
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 100
    gang.begin(2)
    assert (await gang.restore())["0-0"].step == 100
    assert tree(gang.data("0-0") / "100") == saved


@pytest.mark.parametrize("verb", ["put", "put_stream"])
async def test_a_file_that_is_written_in_place_while_it_is_sent_is_never_committed_torn(
    tmp_path: Path, verb: str
) -> None:
    gang = await started(tmp_path)
    gang.save(100, size=200_000 if verb == "put" else 3_000_000)
    array = gang.data("0-0") / "100" / "state" / "d" / "array"
    torn: list[bytes] = []

    async def after(done: str, name: str) -> None:
        if done == verb and name.endswith("state/d/array") and not torn:
            torn.append(array.read_bytes())
            with array.open("r+b") as file:
                file.write(b"new content")

    gang.stores["0-0"].faults = Hook(on_after=after)
    await gang.settle()
    assert torn
    assert gang.keepers["0-0"].state.committed == 100
    assert data_of(gang, 100) == array.read_bytes() != torn[0]


async def test_a_step_that_never_stops_changing_is_named_and_never_committed(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    array = gang.data("0-0") / "100" / "state" / "d" / "array"
    writing = True

    async def after(verb: str, name: str) -> None:
        if name.endswith("state/d/array") and writing:
            with array.open("ab") as file:
                file.write(b"more")

    gang.stores["0-0"].faults = Hook(on_after=after)
    for _ in range(4):
        await gang.run(gang.keepers["0-0"].tick())
    state = gang.keepers["0-0"].state
    assert (state.health.reason, state.part_written, state.last_complete) == ("CheckpointChanges", None, 100)
    assert gang.bucket.names("runs/", "parts/0-0.json") == []
    writing = False
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 100
    assert gang.keepers["0-0"].state.health.healthy
    assert data_of(gang, 100) == array.read_bytes()


async def test_a_step_that_is_written_anew_between_two_lives_is_sent_as_it_is_now(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100, size=400_000)

    async def before(verb: str, name: str) -> None:
        if name == layout.part(1, 100, "0-0"):
            raise StoreUnavailable("away")

    gang.stores["0-0"].faults = Hook(on_before=before)
    await gang.run(gang.keepers["0-0"].tick())
    assert gang.keepers["0-0"].state.store.reason == "StoreUnavailable"
    old = data_of(gang, 100)
    shutil.rmtree(gang.volumes["0-0"] / "state" / "0-0" / "1" / "pins")
    shutil.rmtree(gang.data("0-0") / "100")
    write_step(gang.data("0-0"), 100, "written anew", size=400_000)
    gang.keeper("0-0")
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 100
    assert data_of(gang, 100) == (gang.data("0-0") / "100/state/d/array").read_bytes() != old


async def test_where_links_are_not_permitted_descriptors_hold_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gang = await started(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    gang.save(100)
    array = (gang.data("0-0") / "100/state/d/array").read_bytes()
    await gang.run(gang.keepers["0-0"].look())
    shutil.rmtree(gang.data("0-0") / "100")
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 100
    assert data_of(gang, 100) == array


async def test_saves_faster_than_uploads_give_up_the_same_steps_everywhere(tmp_path: Path) -> None:
    gang = await started(tmp_path, parts=2, every_steps=100)
    for number in range(1, 11):
        gang.save(100 * number)
        await gang.together({slot: gang.keepers[slot].look() for slot in gang.slots})
    held = [(gang.volumes[slot] / "state" / slot / "1" / "pins").iterdir() for slot in gang.slots]
    assert [sorted(int(path.name) for path in paths) for paths in held] == [[100, 400, 800, 1000]] * 2
    await gang.settle()
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 400), (1, 800), (1, 1000)]


async def test_a_flush_sends_the_newest_first_and_passes_over_what_it_overtakes(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    for step in (100, 200, 300):
        gang.save(step)
    await gang.run(gang.keepers["0-0"].look())
    assert await gang.run(gang.keepers["0-0"].flush())
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 300)]
    phases = [gang.keepers["0-0"].state.phase]
    gang.save(400)
    await gang.run(gang.keepers["0-0"].look())
    assert [*phases, gang.keepers["0-0"].state.phase] == ["Flushed", "Watching"]


async def test_a_flush_takes_over_from_the_upload_of_an_older_step(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    keeper = gang.keepers["0-0"]
    gang.save(100)
    for number in range(20):
        (gang.data("0-0") / "100" / f"more-{number}").write_bytes(b"more")
    flushing: list[Any] = []

    async def before(verb: str, name: str) -> None:
        if verb == "put" and not flushing:
            gang.save(200)
            flushing.append(gang.spawner.spawn(keeper.flush(), name="flush"))
        await gang.clock.sleep(1)

    gang.stores["0-0"].faults = Hook(on_before=before)
    await gang.run(keeper.tick())
    assert await gang.run(_result(flushing))
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 200)]


async def _result(tasks: list[Any]) -> bool:
    return bool(await tasks[0])


async def test_a_flush_that_cannot_be_done_in_time_says_so(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    gang.bucket.denied = True
    outcome = await gang.run(gang.keepers["0-0"].finish(30))
    assert (outcome.kind, outcome.last_complete, outcome.committed) == ("Interrupted", 100, None)
    assert "roles/storage.objectUser" in outcome.message
    assert 30 <= gang.clock.elapsed < 60


async def test_the_end_never_waits_for_other_slots_and_the_last_one_commits(tmp_path: Path) -> None:
    gang = await started(tmp_path, parts=2)
    gang.save(100)
    first = await gang.run(gang.keepers["0-0"].finish())
    assert (first.kind, first.last_complete, first.part_written, first.committed) == ("Finished", 100, 100, None)
    second = await gang.run(gang.keepers["0-1"].finish())
    assert (second.kind, second.part_written, second.committed) == ("Finished", 100, 100)


async def test_a_step_that_nobody_committed_is_committed_by_whoever_is_left(tmp_path: Path) -> None:
    gang = await started(tmp_path, parts=2)
    gang.save(100)

    async def before(verb: str, name: str) -> None:
        if name == layout.commit(1, 100):
            raise StoreUnavailable("away")

    gang.stores["0-1"].faults = Hook(on_before=before)
    await gang.run(gang.keepers["0-0"].tick())
    await gang.run(gang.keepers["0-1"].tick())
    assert gang.keepers["0-1"].state.part_written == 100
    assert gang.commits() == []

    async def only_the_first() -> None:
        while not gang.commits():
            await gang.keepers["0-0"].tick()
            await gang.clock.sleep(1)

    await gang.run(only_the_first(), limit_s=60)
    assert gang.keepers["0-0"].state.committed == 100


async def test_what_a_bucket_cannot_keep_is_named(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    step = write_step(gang.data("0-0"), 100, "x")
    os.mkfifo(step / "pipe")
    await gang.settle()
    state = gang.keepers["0-0"].state
    assert (state.health.reason, state.last_complete, state.committed) == ("UnsupportedFile", 100, None)
    assert "pipe is not a file" in state.health.message
    gang.save(200)
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 200


async def test_a_save_that_hangs_is_named(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    stuck = gang.data("0-0") / "100.orbax-checkpoint-tmp"
    stuck.mkdir()
    (stuck / "array").write_bytes(b"x")

    async def watch(seconds: int) -> None:
        for _ in range(seconds):
            await gang.keepers["0-0"].tick()
            await gang.clock.sleep(1)

    await gang.run(watch(50))
    (stuck / "array").write_bytes(b"still going on")
    await gang.run(watch(50))
    assert gang.keepers["0-0"].state.health.healthy
    await gang.run(watch(20))
    health = gang.keepers["0-0"].state.health
    assert (health.healthy, health.reason) == (False, "IncompleteCheckpoint")
    assert "holdfast.client.orbax" in health.message
    stuck.rename(gang.data("0-0") / "100")
    (gang.data("0-0") / "100" / "commit_success.txt").touch()
    await gang.run(watch(2))
    assert gang.keepers["0-0"].state.health.healthy
    assert gang.keepers["0-0"].state.committed == 100


async def test_a_declared_step_is_kept_across_lives_and_restored_under_its_name(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    directory = gang.data("0-0") / "ckpt" / "late"
    directory.mkdir(parents=True)
    (directory / "weights").write_bytes(b"w" * 100)
    for bad in ("/etc", "../other", ".", ""):
        with pytest.raises(ValueError, match="relative"):
            await gang.run(gang.keepers["0-0"].declare(50, bad))
    await gang.run(gang.keepers["0-0"].declare(50, "ckpt/late"))
    gang.keeper("0-0")
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 50
    gang.begin(2)
    assert (await gang.restore())["0-0"].step == 50
    assert (gang.data("0-0") / "ckpt/late/weights").read_bytes() == b"w" * 100
    await gang.settle()
    assert gang.keepers["0-0"].state.last_complete is None


async def test_a_foreign_part_blocks_the_commit_and_is_named(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.bucket.write(layout.part(1, 100, "9-9"), b"{}", None)
    gang.save(100)
    looks = 0

    async def before(verb: str, name: str) -> None:
        nonlocal looks
        looks += name == layout.parts_folder(1, 100)

    gang.stores["0-0"].faults = Hook(on_before=before)
    for _ in range(60):
        await gang.run(gang.keepers["0-0"].tick())
        health = gang.keepers["0-0"].state.health
        assert health.reason == "CommitBlocked"
        await gang.run(gang.clock.sleep(1))
    assert "1 parts belong here, not 0-0, 9-9" in health.message
    # Reading them again each second would not mend it.
    assert 2 <= looks <= 12
    gang.bucket.remove(layout.part(1, 100, "9-9"))
    await gang.settle()
    assert (gang.keepers["0-0"].state.committed, gang.keepers["0-0"].state.health.healthy) == (100, True)


async def test_damage_of_a_new_commit_is_noticed_at_once(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100)

    async def after(verb: str, name: str) -> None:
        if name == layout.part(1, 100, "0-0") and verb == "put":
            del gang.bucket.objects[layout.data_object(1, 100, "0-0", "zero")]

    gang.stores["0-0"].faults = Hook(on_after=after)
    await gang.settle()
    assert [(damage.step, damage.problem) for damage in gang.keepers["0-0"].state.damages] == [
        (100, "the object is missing")
    ]


async def test_a_keeper_without_a_restore_refuses(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    gang.begin(1)
    with pytest.raises(NotRestored, match="holdfast-restore must run before"):
        await gang.run(gang.keeper("0-0").tick())


async def test_a_part_of_an_earlier_life_is_committed_by_the_next(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100)

    async def before(verb: str, name: str) -> None:
        if name == layout.commit(1, 100):
            raise StoreUnavailable("away")

    gang.stores["0-0"].faults = Hook(on_before=before)
    await gang.run(gang.keepers["0-0"].tick())
    shutil.rmtree(gang.data("0-0") / "100")
    reborn = gang.keeper("0-0")
    outcome = await gang.run(reborn.finish())
    assert (outcome.kind, outcome.part_written, outcome.committed) == ("Finished", 100, 100)
