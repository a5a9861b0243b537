"""The plain trainer does in a directory what the cases on real nodes take for granted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.harness import plain_trainer

SCRIPT = Path(plain_trainer.__file__)


def _train(directory: Path, restored: str = "", attempt: int = 1, **knobs: str) -> tuple[int, list[dict[str, Any]]]:
    told = directory.with_name("restored-step")
    told.write_text(restored)
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={
            "PATH": os.environ["PATH"],
            "HOLDFAST_CHECKPOINT_DIR": str(directory),
            "HOLDFAST_RESTORED_STEP_FILE": str(told),
            "HOLDFAST_ATTEMPT": str(attempt),
            "HOLDFAST_SLOT": "0-0",
            "HOLDFAST_EVERY_STEPS": "10",
            "STEP_SECONDS": "0",
            "STEPS": "25",
            **knobs,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_run_that_failed_goes_on_to_the_state_that_was_foretold(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    code, lines = _train(directory, FAIL_AT="15", FAIL_CODE="7")
    assert (code, lines[-1]["event"]) == (7, "failing")
    assert (directory / "10" / plain_trainer.MARKER).exists()
    code, lines = _train(directory, restored="10", attempt=2, FAIL_AT="15")
    assert code == 0
    assert lines[-1]["state"] == plain_trainer.state_after(25)
    assert [line["step"] for line in lines if line["event"] == "checkpoint"] == [20, 25]


def test_a_checkpoint_with_a_wrong_byte_or_a_newer_neighbour_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    _train(directory)
    code, lines = _train(directory, restored="10")
    assert (code, lines) == (1, []), "steps 20 and 25 are newer than the restored one"
    code, _ = _train(directory, restored="25", STEPS="26")
    assert code == 0
    payload = directory / "26" / "payload.bin"
    payload.write_bytes(b"x" + payload.read_bytes()[1:])
    code, lines = _train(directory, restored="26", STEPS="30")
    assert (code, lines) == (1, [])


def test_where_one_worker_writes_the_others_only_read(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    code, lines = _train(directory, WRITER="0-1")
    assert (code, lines[-1]["state"]) == (0, plain_trainer.state_after(25))
    assert not list(directory.iterdir())
    _train(directory, WRITER="0-0")
    assert sorted(path.name for path in directory.iterdir()) == ["10", "20", "25"]
    code, lines = _train(directory, restored="10", WRITER="0-1")
    assert (code, lines[-1]["state"]) == (0, plain_trainer.state_after(25)), "newer steps are the writer's business"
