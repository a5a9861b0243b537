"""A process is stopped only if it still is the one that was started."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.kind.console import Problem
from deploy.kind.process import Failed, ProcessRecord, run, wait_for


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_record_finds_its_process_again(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    ProcessRecord.of(sleeper.pid, "sleep").write(tmp_path / "record")
    found = ProcessRecord.read(tmp_path / "record")
    assert found is not None
    assert found.alive()
    found.kill(signal.SIGKILL)
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not found.alive()


def test_another_process_under_the_same_id_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    record = ProcessRecord.of(sleeper.pid, "sleep")
    for stranger in (replace(record, start_ticks=record.start_ticks + 1), replace(record, marker="dockerd")):
        assert not stranger.alive()
        stranger.kill(signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["sleep", "60"])
    record = ProcessRecord.of(process.pid, "sleep")
    process.kill()
    wait_for("it is a zombie", lambda: not record.alive(), timeout_s=5, every_s=0.01)
    assert process.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "start_ticks": 1, "marker": "m"}'])
def test_a_spoilt_record_is_no_record(text: str, tmp_path: Path) -> None:
    (tmp_path / "record").write_text(text)
    assert ProcessRecord.read(tmp_path / "record") is None


def test_the_first_child_is_found() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert ProcessRecord.of(parent.pid, "sh").child() == child
        ProcessRecord.of(child, "sleep").kill(signal.SIGKILL)


def test_a_failure_shows_the_end_of_the_output() -> None:
    with pytest.raises(Failed, match="exit code 3:\nno such wheel"):
        run([sys.executable, "-c", "import sys; print('no such wheel', file=sys.stderr); sys.exit(3)"], timeout_s=20)


def test_a_program_that_is_missing_is_named_with_the_remedy() -> None:
    with pytest.raises(Failed, match=r"holdfast-no-such-program is not installed.*deps"):
        run(["holdfast-no-such-program"], timeout_s=5)


def test_a_program_has_a_deadline() -> None:
    with pytest.raises(Failed, match="was not done within 0 s"):
        run(["sleep", "60"], timeout_s=0.2)


def test_waiting_ends_with_the_last_failure() -> None:
    def probe() -> bool:
        raise Failed("connection refused")

    with pytest.raises(Problem, match="API server: not within 0 s: connection refused"):
        wait_for("API server", probe, timeout_s=0.1, every_s=0.01)
