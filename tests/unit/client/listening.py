"""The sidecar's end of the socket: a real unix socket that records lines, answers, and can go away and come back."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAIT_S = 5.0


class Listening:
    """Listens at `path` from `start` to `stop`. `received` has every message, of all connections, in order.

    While `reads` is cleared it takes nothing off its lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received: list[dict[str, Any]] = []
        self.connections = 0
        self.reads = threading.Event()
        self.reads.set()
        self._lines: list[socket.socket] = []
        self._server: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.path))
        self._server.listen()
        self._spawn(self._accept, self._server)

    def stop(self) -> None:
        """Close everything, as the end of a process does."""
        self.reads.set()
        if self._server is not None:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
            # The first thread accepts: once it has ended, no line can be added behind our back.
            self._threads.pop(0).join(WAIT_S)
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_S)
        for line in self._lines:
            line.close()
        self._lines.clear()
        self._threads.clear()
        self.path.unlink(missing_ok=True)

    def send(self, text: bytes) -> None:
        for line in self._lines:
            line.sendall(text)

    def say(self, **message: object) -> None:
        self.send(json.dumps(message).encode() + b"\n")

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == kind]

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = server.accept()
                self._lines.append(line)
                self.connections += 1
                self._spawn(self._read, line)

    def _read(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), line.makefile("rb") as lines:
            self.reads.wait()
            for text in lines:
                self.received.append(json.loads(text))

    def _spawn(self, target: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(argument,), daemon=True)
        thread.start()
        self._threads.append(thread)


def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` is true; fail after `WAIT_S`."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.005)
