"""The trainer's socket: what is understood, what is answered, and what cannot bring it down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.wire import Progress
from holdfast.sidecar.trainer_socket import FlushFailed, TrainerSocket, ask_for_flush


class Heard:
    """Keeps what was heard."""

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self.complete: list[tuple[int, str]] = []
        self.may_flush = asyncio.Event()

    def heard_progress(self, progress: Progress) -> None:
        self.progress.append(progress)

    async def heard_complete(self, step: int, path: str) -> None:
        if path.startswith("/"):
            raise ValueError("path must be relative")
        self.complete.append((step, path))

    async def heard_flush(self) -> dict[str, Any]:
        await self.may_flush.wait()
        return {"lastComplete": 7, "committed": None}


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, path: Path) -> Client:
        return cls(*await asyncio.open_unix_connection(path))

    def say(self, message: object) -> None:
        self.writer.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), 5)
        return dict(json.loads(line))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def socket(tmp_path: Path, heard: Heard) -> AsyncIterator[TrainerSocket]:
    (tmp_path / "holdfast.sock").write_text("left by an earlier life")
    served = TrainerSocket(tmp_path / "holdfast.sock", heard)
    await served.open()
    yield served
    await served.close()


@pytest.fixture
async def client(socket: TrainerSocket, tmp_path: Path) -> AsyncIterator[Client]:
    connected = await Client.connect(tmp_path / "holdfast.sock")
    yield connected
    connected.writer.close()
    await connected.writer.wait_closed()


async def test_progress_and_declarations_are_heard_in_order(client: Client, heard: Heard) -> None:
    client.say({"type": "hello", "unknown": "fields are fine"})
    client.say({"type": "progress", "step": 5, "total": 10, "loss": 0.25, "stepsPerSecond": 2.5})
    client.say({"type": "progress", "step": 6})
    client.say({"type": "complete", "step": 5, "path": "ckpt/5"})
    client.say({"type": "complete", "step": 5, "path": "/etc"})
    assert await client.hear() == {"type": "error", "message": "path must be relative"}
    assert heard.progress == [Progress(step=5, total=10, loss=0.25, steps_per_second=2.5), Progress(step=6)]
    assert heard.complete == [(5, "ckpt/5")]


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b"{}\n", b'{"type":"unheard"}\n', b'{"type":"complete","step":"x","path":"a"}\n', b"\xff\xfe\n"],
)
async def test_what_is_not_understood_is_answered_and_changes_nothing(
    client: Client, heard: Heard, line: bytes
) -> None:
    client.say(line)
    assert (await client.hear())["type"] == "error"
    client.say({"type": "progress", "step": 1})
    client.say(line)
    assert (await client.hear())["type"] == "error"
    assert heard.progress == [Progress(step=1)]


async def test_a_line_without_end_is_refused(client: Client, socket: TrainerSocket, tmp_path: Path) -> None:
    client.say(b"x" * 200_000 + b"\n")
    assert "longer than" in (await client.hear())["message"]
    another = await Client.connect(tmp_path / "holdfast.sock")
    another.say({"type": "subscribe"})
    socket.tell({"type": "cadence", "everySteps": 5}, standing="cadence")
    assert (await another.hear())["everySteps"] == 5
    another.writer.close()


async def test_orders_reach_subscribers_and_those_who_come_later(
    client: Client, socket: TrainerSocket, tmp_path: Path
) -> None:
    assert socket.tell({"type": "checkpoint", "id": "a", "deadline": "d"}, standing="a") == 0
    client.say({"type": "subscribe"})
    assert await client.hear() == {"type": "checkpoint", "id": "a", "deadline": "d"}
    assert socket.tell({"type": "cadence", "everySteps": 50}) == 1
    assert await client.hear() == {"type": "cadence", "everySteps": 50}
    socket.withdraw("a")
    later = await Client.connect(tmp_path / "holdfast.sock")
    later.say({"type": "subscribe"})
    later.say(b"?\n")
    assert (await later.hear())["type"] == "error"
    later.writer.close()
    await later.writer.wait_closed()
    for _ in range(100):
        if socket.subscribers == 1:
            break
        client.say(b"?\n")
        assert (await client.hear())["type"] == "error"
    assert socket.subscribers == 1


async def test_a_flush_is_answered_when_it_is_done(socket: TrainerSocket, tmp_path: Path, heard: Heard) -> None:
    asked = asyncio.ensure_future(ask_for_flush(tmp_path / "holdfast.sock"))
    done, _ = await asyncio.wait({asked}, timeout=0.1)
    assert not done
    heard.may_flush.set()
    assert await asked == {"type": "flushed", "lastComplete": 7, "committed": None}


async def test_a_sidecar_that_ends_during_a_flush_is_noticed(socket: TrainerSocket, tmp_path: Path) -> None:
    asked = asyncio.ensure_future(ask_for_flush(tmp_path / "holdfast.sock"))
    await asyncio.wait({asked}, timeout=0.1)
    await socket.close()
    with pytest.raises(FlushFailed, match="nothing"):
        await asyncio.wait_for(asked, 5)


async def test_whoever_sees_the_socket_may_use_it(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer of another user may look for it at any moment, also between the server's start and its first turn."""
    path = tmp_path / "holdfast.sock"
    chmod = Path.chmod
    seen: list[bool] = []

    def watched(self: Path, mode: int, **more: Any) -> None:
        seen.append(path.exists())
        chmod(self, mode, **more)

    monkeypatch.setattr(Path, "chmod", watched)
    for _ in range(2):
        # The second life finds what a killed one has left.
        made = TrainerSocket(path, heard)
        await made.open()
        assert path.stat().st_mode & 0o777 == 0o666
        client = await Client.connect(path)
        client.say({"type": "complete", "step": 1, "path": "/"})
        assert (await client.hear())["type"] == "error"
        client.writer.close()
        await client.writer.wait_closed()
        await made.close()
        assert not path.exists()
        (tmp_path / "holdfast.sock.new").touch()
    assert seen == [False, False]
