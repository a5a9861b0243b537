"""The line to the sidecar: newline-delimited JSON over a unix socket, owned by one background thread.

Training must never wait for the sidecar and never fail because of it. So callers only leave messages in memory; the
thread sends them, each socket operation within `DEADLINE_S`, and connects again when the sidecar comes back from a
restart. A failure is logged once, then not again until a connection has worked in between.

Of progress only the newest report counts, and at most one a second is sent. The newest completed steps are kept and
repeated after a reconnect, because a restarted sidecar has forgotten what it was told.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import json
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from holdfast.client import environment

DEADLINE_S = 1.0
PROGRESS_INTERVAL_S = 1.0
RECONNECT_FIRST_S = 0.2
RECONNECT_LIMIT_S = 5.0
LINE_LIMIT = 64 * 1024
KEPT_STEPS = 16

Message = dict[str, Any]
log = logging.getLogger("holdfast.client")


class Connection:
    """One process's connection to its sidecar. `on_message` is called from the background thread."""

    def __init__(self, path: str, on_message: Callable[[Message], None]) -> None:
        self._path = path
        self._on_message = on_message
        self._lock = threading.Lock()
        self._progress: Message | None = None
        self._progress_due = 0.0
        self._completed: collections.deque[Message] = collections.deque(maxlen=KEPT_STEPS)
        self._unsent: collections.deque[Message] = collections.deque(maxlen=KEPT_STEPS)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._closing = False
        self._failure_logged = False
        self._thread = threading.Thread(target=self._live, name="holdfast-client", daemon=True)
        self._thread.start()

    def progress(self, message: Message) -> None:
        """Leave a progress report; it replaces one that was not sent yet."""
        with self._lock:
            self._progress = message
        self._wake()

    def completed(self, message: Message) -> None:
        """Leave the news of a completed step. It replaces older news of the same directory."""
        with self._lock:
            for kept in (self._completed, self._unsent):
                others = [one for one in kept if one.get("path") != message.get("path")]
                kept.clear()
                kept.extend([*others, message])
        self._wake()

    def close(self) -> None:
        """Send what is left, within `DEADLINE_S`, and end the thread. Repeated calls do nothing."""
        self._closing = True
        self._wake()
        self._thread.join(DEADLINE_S)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # a full pipe has already woken the thread
            self._wake_writer.send(b"\0")

    def _live(self) -> None:
        with self._wake_reader, self._wake_writer:
            self._run()

    def _run(self) -> None:
        delay = RECONNECT_FIRST_S
        while True:
            last = self._closing  # even a program that ends at once gets one attempt to send what it left
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                    line.settimeout(DEADLINE_S)
                    line.connect(self._path)
                    self._greet(line)
                    delay = RECONNECT_FIRST_S
                    self._failure_logged = False
                    self._serve(line)
                    return
            except OSError as error:
                if not self._failure_logged:
                    self._failure_logged = True
                    log.warning("no connection to the sidecar at %s (%s): training goes on without", self._path, error)
            if last:
                return
            self._pause(delay)
            delay = min(delay * 2, RECONNECT_LIMIT_S)

    def _greet(self, line: socket.socket) -> None:
        with self._lock:
            self._unsent.clear()
            repeated = list(self._completed)
        self._send(line, {"type": "hello"}, {"type": "subscribe"}, *repeated)

    def _serve(self, line: socket.socket) -> None:
        """Exchange messages until the sidecar goes away (raises OSError) or the connection is closed."""
        received = b""
        while True:
            closing = self._closing
            self._send_waiting(line, at_once=closing)
            if closing:
                return
            readable, _, _ = select.select([line, self._wake_reader], [], [], self._until_due())
            if self._wake_reader in readable:
                self._drain_wake()
            if line in readable:
                data = line.recv(LINE_LIMIT)
                if not data:
                    raise ConnectionResetError("the sidecar closed the connection")
                received = self._dispatch(received + data)

    def _until_due(self) -> float | None:
        with self._lock:
            if self._progress is None:
                return None
            return max(0.0, self._progress_due - time.monotonic())

    def _send_waiting(self, line: socket.socket, *, at_once: bool) -> None:
        with self._lock:
            messages = list(self._unsent)
            self._unsent.clear()
            now = time.monotonic()
            if self._progress is not None and (at_once or now >= self._progress_due):
                messages.append(self._progress)
                self._progress = None
                self._progress_due = now + PROGRESS_INTERVAL_S
        self._send(line, *messages)

    @staticmethod
    def _send(line: socket.socket, *messages: Message) -> None:
        if messages:
            line.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def _dispatch(self, received: bytes) -> bytes:
        """Hand every whole line to `on_message` and return what is left of the last one."""
        *lines, rest = received.split(b"\n")
        if len(rest) > LINE_LIMIT:
            raise ConnectionAbortedError("the sidecar sent a line that is too long")
        for text in lines:
            try:
                message = json.loads(text)
            except ValueError:
                continue
            if isinstance(message, dict):
                self._on_message(message)
        return rest

    def _pause(self, delay: float) -> None:
        until = time.monotonic() + delay
        while not self._closing and (left := until - time.monotonic()) > 0:
            if select.select([self._wake_reader], [], [], left)[0]:
                self._drain_wake()

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_reader.recv(4096):
                pass


_shared: Connection | None = None
_shared_lock = threading.Lock()
_listeners: list[Callable[[Message], None]] = []


def listen(listener: Callable[[Message], None]) -> None:
    """Have `listener` called, from the background thread, with every message of the sidecar. It must not raise."""
    if listener not in _listeners:
        _listeners.append(listener)


def shared() -> Connection | None:
    """Return this process's connection, made at the first call; None outside of Holdfast."""
    global _shared
    with _shared_lock:
        if _shared is None and (path := environment.socket_path()) is not None:
            _shared = Connection(path, _tell_listeners)
        return _shared


def close() -> None:
    """Send what is left and close; the next use connects again. Called by itself when the interpreter ends."""
    global _shared
    with _shared_lock:
        connection, _shared = _shared, None
    if connection is not None:
        connection.close()


def _tell_listeners(message: Message) -> None:
    if message.get("type") == "error":
        log.warning("the sidecar refused a message: %s", message.get("message"))
    for listener in _listeners:
        listener(message)


def _forget_in_child() -> None:
    # A fork copies neither the thread nor the right to use its socket (data loaders fork).
    global _shared, _shared_lock
    _shared = None
    _shared_lock = threading.Lock()


atexit.register(close)
os.register_at_fork(after_in_child=_forget_in_child)
