"""The line to the sidecar: what arrives there, and that training never notices when it is away."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time

import pytest

from holdfast.client import checkpoint, connection, environment, progress
from tests.unit.client.listening import Listening, eventually


def test_outside_of_holdfast_nothing_is_connected() -> None:
    progress.report(1)
    checkpoint.complete(1, "1")
    assert connection.shared() is None
    assert checkpoint.requested() is None


def test_a_connection_subscribes_first(sidecar: Listening) -> None:
    progress.report(3, total=9, loss=0.5)
    eventually(lambda: sidecar.of_type("progress"))
    assert [message["type"] for message in sidecar.received] == ["hello", "subscribe", "progress"]
    assert sidecar.received[-1] == {"type": "progress", "step": 3, "total": 9, "loss": 0.5}


def test_progress_is_limited_in_rate_and_the_newest_wins(sidecar: Listening) -> None:
    progress.report(0)
    eventually(lambda: sidecar.of_type("progress"))
    began = time.monotonic()
    for step in range(1, 1000):
        progress.report(step)
    eventually(lambda: sidecar.of_type("progress")[-1]["step"] == 999)
    sent = len(sidecar.of_type("progress"))
    assert sent <= 2 + (time.monotonic() - began) / connection.PROGRESS_INTERVAL_S


def test_what_is_left_is_sent_when_the_program_ends(sidecar: Listening) -> None:
    progress.report(1)
    eventually(lambda: sidecar.of_type("progress"))
    progress.report(2)
    connection.close()
    eventually(lambda: [message["step"] for message in sidecar.of_type("progress")] == [1, 2])


def test_a_program_that_ends_at_once_is_still_heard(sidecar: Listening) -> None:
    progress.report(7)
    connection.close()
    eventually(lambda: [message["step"] for message in sidecar.of_type("progress")] == [7])


def test_a_restarted_sidecar_is_told_the_completed_steps_again(sidecar: Listening) -> None:
    checkpoint.complete(100, "100")
    eventually(lambda: sidecar.of_type("complete"))
    sidecar.stop()
    checkpoint.complete(200, "200")
    sidecar.received.clear()
    sidecar.start()
    eventually(lambda: [m["step"] for m in sidecar.of_type("complete")] == [100, 200])
    assert len(sidecar.of_type("subscribe")) == 1


def test_only_the_newest_step_of_a_directory_is_told_again(sidecar: Listening) -> None:
    checkpoint.complete(100, "latest")
    eventually(lambda: sidecar.of_type("complete"))
    sidecar.stop()
    checkpoint.complete(200, "other")
    checkpoint.complete(300, "latest")
    sidecar.received.clear()
    sidecar.start()
    eventually(lambda: [m["step"] for m in sidecar.of_type("complete")] == [200, 300])


def test_an_absent_sidecar_is_logged_once_and_training_goes_on(
    sidecar: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    sidecar.stop()
    with caplog.at_level(logging.WARNING, logger="holdfast.client"):
        began = time.monotonic()
        for step in range(200):
            progress.report(step)
            checkpoint.requested()
        assert time.monotonic() - began < 0.5
        eventually(lambda: caplog.records)
        time.sleep(10 * connection.RECONNECT_LIMIT_S)
    assert len(caplog.records) == 1
    assert str(sidecar.path) in caplog.text


class Sends:
    """Watches what the background thread sends: how much it began to send, and how much it is rid of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.ended = 0
        real = connection.Connection._send

        def send(line: socket.socket, *messages: connection.Message) -> None:
            size = len(json.dumps(messages))
            self.begun += size
            real(line, *messages)
            self.ended += size

        monkeypatch.setattr(connection.Connection, "_send", staticmethod(send))


def test_a_stuck_sidecar_does_not_hold_training_up(sidecar: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sidecar does not read: a send of more than the socket holds cannot end. The trainer goes on meanwhile."""
    monkeypatch.setattr(connection, "DEADLINE_S", 60.0)
    sends = Sends(monkeypatch)
    sidecar.reads.clear()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        more = 2 * plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    checkpoint.complete(1, "x" * more)
    eventually(lambda: sends.begun > more)
    stuck = (sends.begun, sends.ended)
    for step in range(100, 2100):
        checkpoint.complete(step, f"{step}")
        progress.report(step)
        assert checkpoint.requested() is None
    # All of these came back while the same send was still waiting: whoever had waited for it had outlived it.
    assert (sends.begun, sends.ended) == stuck
    assert sends.ended < sends.begun
    sidecar.reads.set()
    eventually(lambda: any(message["step"] == 2099 for message in sidecar.of_type("complete")))


@pytest.mark.parametrize(
    "noise", [b"not json\n", b"[1]\n", b'{"type": "unheard-of"}\n', b'{"type": "checkpoint"}\n', b"\xff\n"]
)
def test_lines_that_are_not_understood_change_nothing(sidecar: Listening, noise: bytes) -> None:
    assert checkpoint.requested() is None
    eventually(lambda: sidecar.of_type("subscribe"))
    sidecar.send(noise)
    sidecar.say(type="checkpoint", id="a", deadline="2026-01-01T00:00:00Z")
    eventually(checkpoint.requested)
    assert sidecar.connections == 1


def test_a_message_in_pieces_is_put_together(sidecar: Listening) -> None:
    assert checkpoint.requested() is None
    eventually(lambda: sidecar.of_type("subscribe"))
    for piece in (b'{"type": "cade', b'nce", "everySteps', b'": 7}\n{"type": "checkpoint", "id": "x"}', b"\n"):
        sidecar.send(piece)
        time.sleep(0.02)
    eventually(checkpoint.requested)
    assert checkpoint.every_steps() == 7


def test_an_endless_line_ends_the_connection_not_the_program(
    sidecar: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.requested() is None
    eventually(lambda: sidecar.of_type("subscribe"))
    with contextlib.suppress(OSError):
        while sidecar.connections == 1:
            sidecar.send(b"x" * connection.LINE_LIMIT)
    eventually(lambda: sidecar.connections >= 2)
    assert "too long" in caplog.text


def test_a_forked_child_makes_a_connection_of_its_own(sidecar: Listening) -> None:
    progress.report(1)
    eventually(lambda: sidecar.of_type("progress"))
    child = os.fork()
    if child == 0:
        progress.report(2)
        connection.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    eventually(lambda: [message["step"] for message in sidecar.of_type("progress")] == [1, 2])
    assert sidecar.connections == 2
    assert environment.inside()
