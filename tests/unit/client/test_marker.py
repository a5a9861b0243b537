"""The marker comes last, and only onto a directory that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.client import marker


def test_everything_is_durable_before_the_marker_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tmp_path / "100"
    (step / "shards").mkdir(parents=True)
    (step / "shards" / "a.bin").write_bytes(b"a")
    (step / "b.bin").write_bytes(b"b")
    (step / "link").symlink_to("b.bin")
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.relative_to(tmp_path).as_posix(), (step / marker.NAME).exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    assert marker.write(step) == step / marker.NAME
    before = {path for path, marked in synced if not marked}
    assert before == {"100", "100/b.bin", "100/shards", "100/shards/a.bin", f"100/{marker.NAME}.tmp"}
    assert ("100", True) in synced
    assert sorted(path.name for path in step.iterdir()) == [marker.NAME, "b.bin", "link", "shards"]


def test_marking_twice_is_harmless(tmp_path: Path) -> None:
    assert marker.write(tmp_path) == marker.write(tmp_path)


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="the step's number"):
        marker.write(tmp_path / "100")
