"""The plain trainer as a process: it resumes to the same end, and its checkpoints carry the marker."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAIN = Path(__file__).resolve().parents[3] / "examples/plain/train.py"


def start(directory: Path, restored: str = "", **knobs: str) -> subprocess.Popen[str]:
    directory.mkdir(exist_ok=True)
    told = directory.parent / "restored-step"
    told.write_text(restored)
    environment = {
        "HOLDFAST_CHECKPOINT_DIR": str(directory), "HOLDFAST_RESTORED_STEP_FILE": str(told),
        "HOLDFAST_EVERY_STEPS": "20", "STEPS": "50", "STEP_SLEEP": "0", **knobs,
    }  # fmt: skip
    return subprocess.Popen([sys.executable, str(TRAIN)], env=environment, stdout=subprocess.PIPE, text=True)


def run(directory: Path, restored: str = "", **knobs: str) -> tuple[int, list[dict[str, Any]]]:
    with start(directory, restored, **knobs) as process:
        output, _ = process.communicate(timeout=30)
    return process.returncode, [json.loads(line) for line in output.splitlines()]


def test_a_resumed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    code, undisturbed = run(tmp_path / "a")
    assert code == 0
    assert [line["step"] for line in undisturbed if line["event"] == "checkpoint"] == [20, 40, 50]
    run(tmp_path / "b", STEPS="40")
    _, resumed = run(tmp_path / "b", restored="40\n")
    assert resumed[0] == {"event": "start", "restoredStep": 40}
    assert resumed[-1] == undisturbed[-1]


def test_checkpoints_carry_the_marker_and_old_ones_go(tmp_path: Path) -> None:
    run(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["40", "50"]
    assert all((tmp_path / "a" / step / ".holdfast-complete").exists() for step in ("40", "50"))


def test_it_ends_with_the_code_that_it_is_told(tmp_path: Path) -> None:
    assert run(tmp_path / "a", EXIT_CODE="42")[0] == 42


def test_sigterm_ends_it(tmp_path: Path) -> None:
    with start(tmp_path / "a", STEP_SLEEP="0.02", STEPS="100000") as process:
        assert process.stdout is not None
        assert '"start"' in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143


def test_a_step_is_durable_before_its_marker_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine that stops may lose is what was not synced: each file before it has its name, each name after."""
    monkeypatch.setenv("HOLDFAST_CHECKPOINT_DIR", str(tmp_path))
    train = runpy.run_path(str(TRAIN))
    calls: list[tuple[str, str]] = []
    synced, replaced = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        calls.append(("sync", os.path.relpath(Path(f"/proc/self/fd/{descriptor}").readlink(), tmp_path)))
        synced(descriptor)

    def replace(path: Path, target: Path) -> Path:
        calls.append(("rename", os.path.relpath(target, tmp_path)))
        return replaced(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    train["save"](20, [1.0])
    assert calls == [
        ("sync", "."),
        ("sync", "20/weights.json.tmp"), ("rename", "20/weights.json"), ("sync", "20"),
        ("sync", "20/.holdfast-complete.tmp"), ("rename", "20/.holdfast-complete"), ("sync", "20"),
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "20").iterdir()) == [".holdfast-complete", "weights.json"]
