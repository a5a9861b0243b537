"""SIGTERM as a real process gets it: noticed at a step, and enforced where no step comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdfast

OPERATOR = str(Path(holdfast.__file__).parents[1])

LOOP = """
import sys, time
from holdfast.client import termination
termination.install(grace_s=30)
termination.install(grace_s=30)
print("ready", flush=True)
while not termination.requested():
    time.sleep(0.01)
print("asked", flush=True)
termination.leave(termination.EXIT_TERMINATED)
"""

STUCK = """
import select
from holdfast.client import termination
termination.install(grace_s=0.3)
print("ready", flush=True)
while True:
    try:
        select.select([], [], [], 60)
    except InterruptedError:
        pass
"""


def _terminated(program: str) -> tuple[int, str, float]:
    """Run `program` until it says that it is ready, send SIGTERM; return exit code, output and seconds."""
    with subprocess.Popen(
        [sys.executable, "-c", program], env={"PYTHONPATH": OPERATOR}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
        return process.returncode, output, time.monotonic() - began


def test_the_loop_sees_the_request_and_leaves() -> None:
    code, output, seconds = _terminated(LOOP)
    assert (code, output) == (143, "asked\n")
    assert seconds < 5


def test_a_program_that_comes_to_no_step_is_ended() -> None:
    code, output, seconds = _terminated(STUCK)
    assert code == 143
    assert "did not end within 0.3 s" in output
    assert seconds < 5


def test_nothing_is_requested_before_a_signal() -> None:
    program = "from holdfast.client import termination as t; t.install(); print(t.requested())"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": OPERATOR}, capture_output=True, text=True, timeout=20,
        check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


@pytest.mark.parametrize("code", [0, 75])
def test_leaving_sends_what_is_left_and_flushes(code: int) -> None:
    program = f"import sys; from holdfast.client import termination as t; sys.stdout.write('last'); t.leave({code})"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": OPERATOR}, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "last")
