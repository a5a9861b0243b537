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
    assert list((gang.volumes["0-0"] / "state/0-0/pins").iterdir()) == []


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
