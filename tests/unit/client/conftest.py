from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.client import checkpoint, connection, environment, progress
from tests.unit.client.listening import Listening


@pytest.fixture(autouse=True)
def fresh_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test is a process of its own, outside of Holdfast until it says otherwise."""
    for name in (
        environment.CHECKPOINT_DIR, environment.RESTORED_STEP_FILE, environment.EVERY_STEPS, environment.ATTEMPT,
        environment.SOCKET, environment.SLOT, environment.LAYOUT,
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    orders = checkpoint._Orders()
    monkeypatch.setattr(checkpoint, "_orders", orders)
    monkeypatch.setattr(connection, "_listeners", [lambda message: orders.hear(message)])
    monkeypatch.setattr(progress, "_rate", progress.Rate())
    monkeypatch.setattr(connection, "PROGRESS_INTERVAL_S", 0.2)
    monkeypatch.setattr(connection, "RECONNECT_FIRST_S", 0.01)
    monkeypatch.setattr(connection, "RECONNECT_LIMIT_S", 0.05)
    yield
    connection.close()


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    """A sidecar that listens, and the environment that leads there. Not in tmp_path: a socket's path is short."""
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        listening = Listening(Path(folder, "holdfast.sock"))
        monkeypatch.setenv(environment.SOCKET, str(listening.path))
        listening.start()
        yield listening
        connection.close()
        listening.stop()
