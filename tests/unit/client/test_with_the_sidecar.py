"""The client and the sidecar's own socket, together: both sides of the protocol in one process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.wire import Progress
from holdfast.client import checkpoint, connection, environment, progress
from holdfast.sidecar.trainer_socket import TrainerSocket
from tests.unit.client import listening


class Heard:
    """Remembers what the sidecar was told; refuses step 13."""

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self.completed: list[tuple[int, str]] = []

    def heard_progress(self, progress: Progress) -> None:
        self.progress.append(progress)

    async def heard_complete(self, step: int, path: str) -> None:
        if step == 13:
            raise ValueError("step 13 brings bad luck")
        self.completed.append((step, path))

    async def heard_flush(self) -> dict[str, Any]:
        return {}


class Pair:
    """A listening sidecar and what it heard."""

    def __init__(self, path: Path) -> None:
        self.heard = Heard()
        self.socket = TrainerSocket(path, self.heard)


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        path = Path(folder, "holdfast.sock")
        made = Pair(path)
        await made.socket.open()
        monkeypatch.setenv(environment.SOCKET, str(path))
        monkeypatch.setenv(environment.CHECKPOINT_DIR, folder)
        yield made
        connection.close()
        await made.socket.close()
        await asyncio.sleep(0.05)


async def eventually(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(listening.eventually, condition)


async def test_progress_and_completed_steps_arrive(pair: Pair) -> None:
    progress.report(4, 8, 0.5, 2.5)
    checkpoint.complete(4, "4")
    await eventually(lambda: pair.heard.progress and pair.heard.completed)
    assert pair.heard.progress == [Progress(step=4, total=8, loss=0.5, steps_per_second=2.5)]
    assert pair.heard.completed == [(4, "4")]


async def test_orders_arrive_also_those_given_before_the_trainer_was_there(pair: Pair) -> None:
    pair.socket.tell({"type": "cadence", "everySteps": 25}, standing="cadence")
    assert checkpoint.requested() is None
    await eventually(lambda: checkpoint.every_steps() == 25)
    pair.socket.tell({"type": "checkpoint", "id": "c1", "deadline": "2026-11-22T10:00:00Z"})
    await eventually(checkpoint.requested)
    assert checkpoint.requested() == checkpoint.Request("c1", "2026-11-22T10:00:00Z")


async def test_a_refusal_is_logged(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint.complete(13, "13")
    await eventually(lambda: caplog.records)
    assert "step 13 brings bad luck" in caplog.text
