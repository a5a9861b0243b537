"""Flush and finish: nothing complete is left behind while there is time, and nothing else takes that time."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoint import layout
from tests.support.bucket import Hook
from tests.support.gang import Gang


async def started(root: Path, **fields: Any) -> Gang:
    gang = Gang(root, parts=1)
    gang.begin(1, **fields)
    await gang.restore()
    return gang


def fail_links(patch: pytest.MonkeyPatch, times: int) -> None:
    """Let the next `times` hard links fail as a sick disk does."""
    link, left = os.link, times

    def sick(*arguments: Any, **more: Any) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise OSError(errno.EIO, "Input/output error")
        link(*arguments, **more)

    patch.setattr(os, "link", sick)


async def test_the_end_waits_for_a_step_that_could_not_be_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    fail_links(monkeypatch, times=3)
    outcome = await gang.run(gang.keepers["0-0"].finish(600))
    assert (outcome.kind, outcome.last_complete, outcome.committed) == ("Finished", 100, 100)
    assert 0 < gang.clock.elapsed < 60


async def test_a_step_that_never_could_be_held_is_not_called_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    fail_links(monkeypatch, times=10**9)
    outcome = await gang.run(gang.keepers["0-0"].finish(30))
    assert (outcome.kind, outcome.last_complete, outcome.committed) == ("Interrupted", 100, None)
    assert 30 <= gang.clock.elapsed < 60


def slow_deletes(gang: Gang, seconds: float) -> None:
    async def before(verb: str, name: str) -> None:
        if verb == "delete":
            await gang.clock.sleep(seconds)

    gang.stores["0-0"].faults = Hook(on_before=before)


async def test_a_flush_never_waits_for_retention(tmp_path: Path) -> None:
    gang = await started(tmp_path, keep_last=2)
    for step in (100, 200):
        gang.save(step)
        await gang.settle()
    slow_deletes(gang, 60)
    gang.save(300)
    begun = gang.clock.elapsed
    assert await gang.run(gang.keepers["0-0"].flush(20))
    assert gang.clock.elapsed - begun < 5
    assert gang.keepers["0-0"].state.committed == 300
    await gang.settle()
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 200), (1, 300)]
    assert gang.bucket.names(layout.step_folder(1, 100)) == []


async def test_a_flush_stops_retention_that_is_under_way(tmp_path: Path) -> None:
    gang = await started(tmp_path, keep_last=2)
    for step in (100, 200):
        gang.save(step)
        await gang.settle()
    slow_deletes(gang, 2)
    gang.save(300)
    keeper = gang.keepers["0-0"]
    await gang.run(keeper.look())

    async def flush() -> bool:
        while not any(verb == "delete" for verb, _ in gang.bucket.history):
            await gang.clock.sleep(0.1)
        gang.save(400)
        return await keeper.flush(5)

    assert await gang.together({"work": keeper.work(), "flush": flush()}) == {"work": True, "flush": True}
    assert keeper.state.committed == 400
    # What was begun is finished by the next pass.
    assert gang.bucket.names(layout.step_folder(1, 100)) != []
    await gang.settle()
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 300), (1, 400)]
    assert gang.bucket.names(layout.step_folder(1, 100)) == []


async def test_retention_leaves_room_for_the_next_step(tmp_path: Path) -> None:
    gang = await started(tmp_path, keep_last=2)
    for step in (100, 200):
        gang.save(step)
        for number in range(300):
            (gang.data("0-0") / str(step) / f"more-{number}").write_bytes(b"")
        await gang.settle()
    slow_deletes(gang, 1)
    gang.save(300)
    begun = gang.clock.elapsed
    await gang.run(gang.keepers["0-0"].tick())
    # At most one batch beyond its time.
    assert gang.clock.elapsed - begun < 40
    gang.save(400)
    await gang.run(gang.keepers["0-0"].tick())
    assert gang.keepers["0-0"].state.committed == 400
    await gang.settle()
    assert {layout.parse_step(name) for name in gang.bucket.names("runs/00000001/steps/")} == {(1, 300), (1, 400)}


async def test_what_the_last_commit_made_needless_goes_once_the_end_is_told(tmp_path: Path) -> None:
    """A job that saves and ends at once has all its last commits made by `finish`, which never waits for deletes."""
    gang = await started(tmp_path, keep_last=2)
    for step in (100, 200):
        gang.save(step)
        await gang.settle()
    gang.save(300)
    keeper = gang.keepers["0-0"]
    outcome = await gang.run(keeper.finish())
    assert (outcome.kind, outcome.committed) == ("Finished", 300)
    assert gang.bucket.names(layout.step_folder(1, 100)) != []
    await gang.run(keeper.tidy())
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 200), (1, 300)]
    assert gang.bucket.names(layout.step_folder(1, 100)) == []


async def test_tidying_after_the_end_takes_a_bounded_time_and_none_where_a_newer_run_exists(tmp_path: Path) -> None:
    gang = await started(tmp_path, keep_last=2)
    for step in (100, 200, 300):
        gang.save(step)
        await gang.run(gang.keepers["0-0"].flush())
    keeper = gang.keepers["0-0"]
    slow_deletes(gang, 15)
    begun = gang.clock.elapsed
    await gang.run(keeper.tidy())
    # It was begun, and the batch under way is the last.
    assert 15 <= gang.clock.elapsed - begun < 40
    gang.begin(2)
    await gang.restore()
    before = gang.bucket.names("runs/")
    await gang.run(keeper.tidy())
    assert gang.bucket.names("runs/") == before
