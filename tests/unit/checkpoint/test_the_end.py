"""Flush and finish: nothing complete is left behind while there is time, and nothing else takes that time."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

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
