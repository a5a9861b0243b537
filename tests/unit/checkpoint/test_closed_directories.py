"""Checkpoints whose directories their owner has closed for writing, kept and restored by a plain user."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.checkpoint.volume import remove_tree
from tests.support.gang import Gang, tree


def close(step: Path) -> dict[str, object]:
    """Close all directories of a step, from the leaves up, and return what it holds."""
    for path in sorted((path for path in step.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True):
        path.chmod(0o555)
    step.chmod(0o555)
    return tree(step)


@pytest.mark.parametrize("fresh_volumes", [True, False])
async def test_a_closed_step_is_restored_again_and_again(plain_user_root: Path, fresh_volumes: bool) -> None:
    gang = Gang(plain_user_root, parts=1)
    gang.begin(1)
    await gang.restore()
    gang.save(100)
    saved = close(gang.data("0-0") / "100")
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 100
    for attempt in (2, 3):
        gang.begin(attempt, fresh_volumes=fresh_volumes)
        assert (await gang.restore())["0-0"].step == 100
        step = gang.data("0-0") / "100"
        assert tree(step) == saved
        assert step.stat().st_mode & 0o777 == 0o555
        assert [path.name for path in (gang.volumes["0-0"] / "data").iterdir()] == [str(attempt)]


async def test_a_crash_after_the_move_is_made_good(plain_user_root: Path) -> None:
    gang = Gang(plain_user_root, parts=1)
    gang.begin(1)
    await gang.restore()
    gang.save(100)
    saved = close(gang.data("0-0") / "100")
    await gang.settle()
    gang.begin(2)
    await gang.restore()
    # The restore step died before it had recorded that it was done.
    (gang.volumes["0-0"] / "state/0-0/2/run.json").unlink()
    assert (await gang.restore())["0-0"].step == 100
    assert tree(gang.data("0-0") / "100") == saved


def test_a_closed_tree_can_be_removed(plain_user_root: Path) -> None:
    inner = plain_user_root / "tree" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_bytes(b"x")
    outside = plain_user_root / "outside"
    outside.mkdir(mode=0o555)
    (inner / "link").symlink_to(outside)
    inner.chmod(0o000)
    inner.parent.chmod(0o555)
    remove_tree(plain_user_root / "tree")
    assert list(plain_user_root.iterdir()) == [outside]
    assert outside.stat().st_mode & 0o777 == 0o555
