"""SIGTERM for a program that runs as process 1 of its container.

The kernel ignores a signal that process 1 has no handler for, so a trainer without one is only killed when its grace
period is over. `install` turns the first SIGTERM into a request that the training loop sees at its next step, and
ends the process by force when the loop does not come to one: it may be stuck in a collective with a peer that died.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

from holdfast.client import connection

EXIT_TERMINATED = 128 + signal.SIGTERM
EXIT_PEER_LOST = 75  # EX_TEMPFAIL of sysexits.h: another attempt may succeed

_requested = threading.Event()
_wakeup: tuple[socket.socket, socket.socket] | None = None


def requested() -> bool:
    """Say whether this process was asked to end."""
    return _requested.is_set()


def install(grace_s: float = 20.0) -> None:
    """Handle SIGTERM from now on. Call it once, from the main thread; repeated calls do nothing.

    `grace_s` is the time that the training loop gets to notice `requested()`, save and leave before the process is
    ended with code 143. Keep it under the pod's termination grace period; Holdfast's own stops give 30 s.
    """
    global _wakeup
    if _wakeup is not None:
        return
    reader, writer = _wakeup = socket.socketpair()
    writer.setblocking(False)
    # The handler itself would only run when the main thread is back in Python code; the byte is written by the
    # interpreter's C-level handler at once, even while the main thread waits inside a collective.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, grace_s), name="holdfast-termination", daemon=True).start()


def leave(code: int) -> None:
    """End the process now with `code`, past exit handlers that would wait for peers that are gone.

    What the sidecar has not been told yet is sent first, which takes `connection.DEADLINE_S` at the most.
    """
    connection.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch(reader: socket.socket, grace_s: float) -> None:
    # Every handled signal leaves its number as one byte.
    while signal.SIGTERM not in reader.recv(1):
        pass
    _requested.set()
    time.sleep(grace_s)
    connection.log.warning("SIGTERM: the program did not end within %g s and is ended now", grace_s)
    leave(EXIT_TERMINATED)
