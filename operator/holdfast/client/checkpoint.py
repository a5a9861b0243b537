"""Checkpoints between the program and its sidecar: "this one is complete", "take one now", "so often from now on"."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.client import connection, environment


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody waits for a checkpoint now (a drain, an eviction notice, a person).

    `id` is the sidecar's name of the request, `deadline` the RFC 3339 time after which nobody waits any more.
    """

    id: str
    deadline: str


class _Orders:
    """What the sidecar has asked for and the program has not yet done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Request | None = None
        self._served: str = ""
        self._every_steps: int | None = None

    def hear(self, message: dict[str, Any]) -> None:
        """Take a message from the sidecar; one that is not understood changes nothing."""
        kind = message.get("type")
        with self._lock:
            if kind == "checkpoint" and isinstance(message.get("id"), str):
                # The same request comes again after a reconnect: it is not to be served twice.
                if message["id"] != self._served:
                    self._pending = Request(message["id"], str(message.get("deadline", "")))
            elif kind == "cadence":
                every = message.get("everySteps")
                if isinstance(every, int) and not isinstance(every, bool) and every >= 1:
                    self._every_steps = every

    def pending(self) -> Request | None:
        with self._lock:
            return self._pending

    def served(self, request: Request) -> None:
        with self._lock:
            self._served = request.id
            if self._pending == request:
                self._pending = None

    def every_steps(self) -> int | None:
        with self._lock:
            return self._every_steps


_orders = _Orders()
connection.listen(_orders.hear)


def complete(step: int, path: str | os.PathLike[str]) -> None:
    """Say that the checkpoint of `step` is complete in `path`, a directory inside the checkpoint directory.

    Not needed for Orbax nor where the directory carries the marker (`holdfast.client.marker`): those speak for
    themselves and survive a restart of the sidecar. Raises ValueError for a path outside the checkpoint directory.
    Never waits; outside of Holdfast it does nothing.
    """
    line = connection.shared()
    if line is None:
        return
    root = environment.checkpoint_directory().resolve()
    place = (root / path).resolve()
    if place == root or not place.is_relative_to(root):
        raise ValueError(f"{os.fspath(path)}: a checkpoint must be a directory inside {root}")
    relative = Path(place).relative_to(root).as_posix()
    line.completed({"type": "complete", "step": int(step), "path": relative})


def requested() -> Request | None:
    """Return the request for a checkpoint that has not been served yet, if there is one. Never waits.

    Hosts hear of a request at different moments. Where all hosts must save the same step, agree first:
    `holdfast.client.jax.Coordinator` does.
    """
    connection.shared()
    return _orders.pending()


def served(request: Request) -> None:
    """Forget `request`, because its checkpoint has been started."""
    _orders.served(request)


def every_steps() -> int:
    """Return how many steps lie between two checkpoints now: what the operator asked for, else the job's cadence."""
    connection.shared()
    return _orders.every_steps() or environment.every_steps()
