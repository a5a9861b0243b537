"""Time, randomness, sleep and threads enter through the seams: the linter notices everything else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.unit.guards.tracked import ROOT, files, text

BANNED = {
    "time.time()": "import time",
    "time.monotonic()": "import time",
    "time.sleep(1)": "import time",
    "monotonic()": "from time import monotonic",
    "random.random()": "import random",
    "datetime.datetime.now(datetime.UTC)": "import datetime",
    "datetime.now(UTC)": "from datetime import UTC, datetime",
    "asyncio.sleep(1)": "import asyncio",
    "asyncio.to_thread(print)": "import asyncio",
    "asyncio.create_task(None)": "import asyncio",
}
GUARDED = ("training", "planning", "cluster", "checkpoint", "sidecar", "reports", "app")


def _codes(source: str, name: str) -> set[str]:
    words = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--output-format",
        "json",
        "--stdin-filename",
        name,
        "-",
    ]
    done = subprocess.run(words, cwd=ROOT, input=source, capture_output=True, text=True, timeout=30, check=False)
    return {finding["code"] for finding in json.loads(done.stdout)}


@pytest.mark.parametrize("call", BANNED)
def test_a_banned_call_is_noticed(call: str) -> None:
    source = f'"""Breach."""\n\n{BANNED[call]}\n\nVALUE = {call}\n'
    assert "TID251" in _codes(source, "operator/holdfast/training/breach.py")


@pytest.mark.parametrize("room", GUARDED)
def test_every_room_behind_the_seams_is_guarded(room: str) -> None:
    source = '"""Breach."""\n\nimport time\n\nVALUE = time.time()\n'
    assert "TID251" in _codes(source, f"operator/holdfast/{room}/breach.py")


def test_nobody_turns_the_guard_off_in_a_file() -> None:
    # In two pieces, or this line would be one that turns it off.
    switched_off = "noqa: " + "TID251"
    package = [path for path in files() if path.is_relative_to("operator/holdfast") and path.suffix == ".py"]
    assert [str(path) for path in package if switched_off in (text(path) or "")] == []
