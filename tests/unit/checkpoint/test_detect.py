"""Which directories are complete steps, and which are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.checkpoint.detect import Found, scan
from holdfast.checkpoint.detect.marker import safe_directory

MARK = ".holdfast-complete"

# Directory, files in it, format, the step if it is complete.
TABLE = [
    ("100", ["commit_success.txt"], "Auto", 100),
    ("100", ["_CHECKPOINT_METADATA"], "Auto", 100),
    ("0", ["commit_success.txt"], "Orbax", 0),
    ("000100", ["commit_success.txt"], "Orbax", 100),
    ("ckpt_100", ["commit_success.txt"], "Orbax", 100),
    ("my_long_name_100", ["_CHECKPOINT_METADATA"], "Auto", 100),
    ("100", ["array", "state/_METADATA"], "Auto", None),
    ("100", ["item/commit_success.txt"], "Auto", None),
    ("100.orbax-checkpoint-tmp", ["commit_success.txt"], "Auto", None),
    ("100.orbax-checkpoint-tmp-1712", ["commit_success.txt"], "Auto", None),
    ("ckpt_100.orbax-checkpoint-tmp", ["commit_success.txt"], "Orbax", None),
    ("_100", ["commit_success.txt"], "Orbax", None),
    ("ckpt-100", ["commit_success.txt"], "Orbax", None),
    ("latest", ["commit_success.txt"], "Orbax", None),
    ("1234567890123", ["commit_success.txt"], "Orbax", None),
    ("100", [MARK], "Auto", 100),
    ("100", [MARK], "Marker", 100),
    ("100", [MARK], "Orbax", None),
    ("100", ["commit_success.txt"], "Marker", None),
    ("ckpt_100", [MARK], "Marker", None),
    ("٣", [MARK], "Marker", None),
]


@pytest.mark.parametrize(("name", "files", "format_", "step"), TABLE)
def test_the_table_of_formats(tmp_path: Path, name: str, files: list[str], format_: str, step: int | None) -> None:
    for file in files:
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    complete = scan(tmp_path, format_, {}).complete
    if step is None:
        assert complete == ()
    else:
        kind = "Marker" if MARK in files else "Orbax"
        assert complete == (Found(step, name, kind, "Explicit"),)


def test_a_marker_must_be_a_file_and_a_step_a_directory(tmp_path: Path) -> None:
    (tmp_path / "100" / "commit_success.txt").mkdir(parents=True)
    (tmp_path / "200").write_text("a file")
    real = tmp_path / "elsewhere"
    real.mkdir()
    (real / "commit_success.txt").touch()
    (tmp_path / "300").symlink_to(real)
    assert scan(tmp_path, "Auto", {}).complete == ()


def test_steps_come_in_order_and_once(tmp_path: Path) -> None:
    for name in ("900", "ckpt_1000", "1000", "20"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "commit_success.txt").touch()
    assert [(found.step, found.directory) for found in scan(tmp_path, "Auto", {}).complete] == [
        (20, "20"),
        (900, "900"),
        (1000, "1000"),
    ]


def test_declared_steps_count_while_their_directory_is_there(tmp_path: Path) -> None:
    (tmp_path / "some" / "where").mkdir(parents=True)
    told = {5: "some/where", 6: "gone"}
    assert scan(tmp_path, "Orbax", told).complete == (Found(5, "some/where", "Marker", "Explicit"),)
    # The restored directory is news once it is declared anew.
    assert [step.step for step in scan(tmp_path, "Auto", told, skip=["some/where"]).complete] == [5]


def test_unfinished_steps_are_those_that_have_begun(tmp_path: Path) -> None:
    for name in ("100", "200.orbax-checkpoint-tmp", "ckpt_300.orbax-checkpoint-tmp-17", "tensorboard", "400"):
        (tmp_path / name).mkdir()
    (tmp_path / "400" / MARK).touch()
    seen = scan(tmp_path, "Auto", {}, skip=["100"])
    assert sorted(unfinished.step for unfinished in seen.unfinished) == [200, 300]


def test_a_fingerprint_follows_every_write(tmp_path: Path) -> None:
    deep = tmp_path / "100" / "a" / "b"
    deep.mkdir(parents=True)
    prints = []
    for content in (b"", b"x", b"xy"):
        (deep / "file").write_bytes(content)
        prints.append(scan(tmp_path, "Auto", {}).unfinished[0].fingerprint)
    assert len(set(prints)) == 3
    assert scan(tmp_path, "Auto", {}).unfinished[0].fingerprint == prints[-1]


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert scan(tmp_path / "nowhere", "Auto", {}).complete == ()


@pytest.mark.parametrize(("path", "plain"), [("a", "a"), ("./a", "a"), ("a//b/", "a/b")])
def test_declared_paths_are_made_plain(path: str, plain: str) -> None:
    assert safe_directory(path) == plain


@pytest.mark.parametrize("path", ["", ".", "/", "/a", "..", "a/../..", "a\x00b"])
def test_declared_paths_stay_inside(path: str) -> None:
    with pytest.raises(ValueError, match="must be relative"):
        safe_directory(path)
