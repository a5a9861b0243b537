"""A volume that outlives its pod, as a claim does: what the next attempt uses again, and what makes room for it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from holdfast.checkpoint import layout
from tests.support.bucket import Hook
from tests.support.clock import run_until
from tests.support.gang import Gang, tree

ARRAY = layout.data_object(1, 100, "0-0", "state/d/array")


async def committed(gang: Gang) -> None:
    gang.begin(1)
    await gang.restore()
    gang.save(100)
    await gang.settle()


async def test_what_an_older_attempt_held_makes_room_before_anything_is_fetched(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang)
    gang.save(200)
    await gang.run(gang.keepers["0-0"].look())
    pins = gang.volumes["0-0"] / "state/0-0/1/pins"
    assert list(pins.iterdir())
    shutil.rmtree(gang.data("0-0"))
    seen: list[bool] = []

    async def before(verb: str, name: str) -> None:
        if name == ARRAY:
            seen.append(pins.exists())

    gang.faults["0-0"] = Hook(on_before=before)
    gang.begin(2, fresh_volumes=False)
    assert (await gang.restore())["0-0"].step == 100
    assert seen == [False]


async def test_a_fetch_that_an_older_attempt_began_is_gone_on_with(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    await committed(gang)
    saved = tree(gang.data("0-0") / "100")
    arrived: list[str] = []

    async def stuck(verb: str, name: str) -> None:
        if verb != "put" and name.endswith("_METADATA"):
            await asyncio.Event().wait()

    async def after(verb: str, name: str) -> None:
        if "/data/" in name:
            arrived.append(name)

    gang.faults["0-0"] = Hook(on_before=stuck, on_after=after)
    gang.begin(2)
    cut_off = gang.spawner.spawn(gang.restore_step("0-0").run(), name="attempt 2")
    await run_until(gang.clock, lambda: ARRAY in arrived, limit_s=60)
    await gang.clock.advance(1)
    cut_off.cancel()
    await asyncio.gather(cut_off, return_exceptions=True)

    arrived.clear()
    gang.faults["0-0"] = Hook(on_after=after)
    gang.begin(3, fresh_volumes=False)
    assert (await gang.restore())["0-0"].step == 100
    assert ARRAY not in arrived, "it was there already"
    assert arrived, "and the rest was not"
    assert tree(gang.data("0-0") / "100") == saved


async def test_a_step_that_the_trainer_saved_is_moved_and_not_fetched(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=2)
    await committed(gang)
    inodes = [(gang.data(slot) / "100/state/d/array").stat().st_ino for slot in gang.slots]
    gang.begin(2, fresh_volumes=False)
    await gang.restore()
    assert [(gang.data(slot) / "100/state/d/array").stat().st_ino for slot in gang.slots] == inodes
    for slot in gang.slots:
        assert [path.name for path in (gang.volumes[slot] / "data").iterdir()] == ["2"]
