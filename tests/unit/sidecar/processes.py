"""Pods of real processes: restore, sidecar and flush as the kubelet would run them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast.api import wire
from tests.support.gang import config


class Pod:
    """One slot's containers, on a volume of their own or on one that is given."""

    def __init__(self, root: Path, url: str, volume: Path | None = None, **fields: Any) -> None:
        self.root = root
        self.volume, self.run_directory = volume or root / "volume", root / "run"
        self.volume.mkdir(parents=True, exist_ok=True)
        self.run_directory.mkdir(parents=True)
        self.termination = root / "termination-log"
        self.config = config(**fields, volume_root=str(self.volume), run_directory=str(self.run_directory))
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": "operator",
            "STORAGE_EMULATOR_HOST": url,
            "HOLDFAST_TERMINATION_LOG": str(self.termination),
            wire.CONFIG_VARIABLE: wire.encode(self.config).decode(),
        }
        self.processes: list[Process] = []

    @property
    def data(self) -> Path:
        return self.volume / "data" / str(self.config.attempt)

    async def start(self, command: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast.sidecar.main", command, env=self.environment, stderr=PIPE
        )
        self.processes.append(process)
        return process

    async def call(self, command: str) -> tuple[int | None, str]:
        process = await self.start(command)
        _, errors = await process.communicate()
        return process.returncode, errors.decode()

    def outcome(self) -> wire.Outcome:
        return msgspec.json.decode(self.termination.read_bytes(), type=wire.Outcome)

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process does; the test's own time limit ends it."""
    ready = asyncio.Event()
    while not condition():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ready.wait(), 0.02)
