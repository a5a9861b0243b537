"""A volume without room: uploads go on, because nothing else frees it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.gang import Gang, tree


class FullVolume:
    """Refuses new names and new content below `state/`, as a file system does that has no room left."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._real: dict[str, Any] = {"link": os.link, "mkdir": os.mkdir, "open": Path.open}
        patch.setattr(os, "link", lambda source, target, **more: self._names("link", target, source, target, **more))
        patch.setattr(os, "mkdir", lambda path, *rest, **more: self._names("mkdir", path, path, *rest, **more))
        patch.setattr(Path, "open", lambda path, mode="r", *rest, **more: self._open(path, mode, *rest, **more))
        self.full = True

    def _names(self, call: str, place: Any, *arguments: Any, **more: Any) -> Any:
        self._check(place)
        return self._real[call](*arguments, **more)

    def _open(self, path: Path, mode: str, *rest: Any, **more: Any) -> Any:
        if mode[0] in "wa":
            self._check(path)
        return self._real["open"](path, mode, *rest, **more)

    def _check(self, place: Any) -> None:
        if self.full and "/state/" in os.fspath(place) and not Path(place).is_dir():
            raise OSError(errno.ENOSPC, "No space left on device", os.fspath(place))


async def started(root: Path) -> Gang:
    gang = Gang(root, parts=1)
    gang.begin(1)
    await gang.restore()
    return gang


async def test_what_is_held_is_sent_though_the_journal_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    await gang.run(gang.keepers["0-0"].look())
    FullVolume(monkeypatch)
    await gang.run(gang.keepers["0-0"].work())
    state = gang.keepers["0-0"].state
    assert (state.committed, state.health.healthy) == (100, True)
    assert list((gang.volumes["0-0"] / "state/0-0/1/pins").iterdir()) == []


async def test_a_new_step_is_held_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    saved = tree(gang.data("0-0") / "100")
    volume = FullVolume(monkeypatch)
    await gang.run(gang.keepers["0-0"].look())
    shutil.rmtree(gang.data("0-0") / "100")
    await gang.run(gang.keepers["0-0"].work())
    assert gang.keepers["0-0"].state.committed == 100
    volume.full = False
    gang.begin(2)
    assert (await gang.restore())["0-0"].step == 100
    assert tree(gang.data("0-0") / "100") == saved


async def test_a_step_that_cannot_be_held_is_named_as_long_as_that_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    keeper = gang.keepers["0-0"]
    link, sick = os.link, True

    def maybe(*arguments: Any, **more: Any) -> None:
        if sick:
            raise OSError(errno.EIO, "Input/output error")
        link(*arguments, **more)

    monkeypatch.setattr(os, "link", maybe)
    told = []
    for _ in range(4):
        await gang.run(keeper.look())
        told.append(keeper.state.health.reason)
        await gang.run(keeper.work())
        told.append(keeper.state.health.reason)
    assert set(told) == {"VolumeUnusable"}
    sick = False
    await gang.settle()
    assert (keeper.state.committed, keeper.state.health.healthy) == (100, True)


async def test_a_directory_that_cannot_be_read_hides_no_other(plain_user_root: Path) -> None:
    gang = await started(plain_user_root)
    closed = gang.data("0-0") / "50"
    closed.mkdir(mode=0o000)
    gang.save(100)
    await gang.settle()
    state = gang.keepers["0-0"].state
    assert (state.committed, state.health.reason) == (100, "VolumeUnusable")
    assert "Permission denied" in state.health.message
    assert (await gang.run(gang.keepers["0-0"].finish(30))).kind == "Finished"
    closed.chmod(0o755)
    await gang.settle()
    assert gang.keepers["0-0"].state.health.healthy


async def test_a_trainer_directory_that_cannot_be_read_is_never_called_done(plain_user_root: Path) -> None:
    gang = await started(plain_user_root)
    gang.save(100)
    gang.data("0-0").chmod(0o000)
    assert (await gang.run(gang.keepers["0-0"].finish(10))).kind == "Interrupted"
    assert gang.keepers["0-0"].state.health.reason == "VolumeUnusable"
    gang.data("0-0").chmod(0o755)
    outcome = await gang.run(gang.keepers["0-0"].finish(10))
    assert (outcome.kind, outcome.committed) == ("Finished", 100)


async def test_names_that_are_no_text_are_named_and_hurt_nothing(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    gang.save(100)
    odd = (gang.data("0-0") / "100").rename(gang.data("0-0") / os.fsdecode(b"\xff_100"))
    keeper = gang.keepers["0-0"]
    await gang.settle()
    assert (keeper.state.health.reason, keeper.state.committed) == ("UnsupportedFile", None)
    shutil.rmtree(odd)
    (gang.data("0-0") / os.fsdecode(b"\xfe_300.orbax-checkpoint-tmp")).mkdir()
    gang.save(200)
    for _ in range(70):
        await gang.run(keeper.tick())
        await gang.run(gang.clock.sleep(1))
    assert (keeper.state.health.reason, keeper.state.committed) == ("IncompleteCheckpoint", 200)
    assert keeper.state.health.message.encode()
