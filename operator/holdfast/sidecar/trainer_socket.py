"""The socket for the trainer: lines of JSON both ways, over a Unix stream socket in the pod.

From clients: `hello`, `progress`, `complete`, `subscribe`, `flush`. To subscribers: `checkpoint`, `cadence`. To who
asked for a flush: `flushed`. What cannot be understood is answered with `error` and changes nothing; a trainer can
never bring the sidecar down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from holdfast.api.wire import Progress

log = logging.getLogger(__name__)

_LINE_LIMIT: Final = 64 * 1024
# A client that does not read what it is sent is dropped rather than buffered for without end.
_UNREAD_LIMIT: Final = 256 * 1024

Fields = dict[str, Any]


class _Line(msgspec.Struct, tag_field="type", rename="camel"):
    """A line from a client."""


class _Hello(_Line, tag="hello"):
    """Somebody is there."""


class _Progress(_Line, tag="progress"):
    """How far the training is."""

    step: int | None = None
    total: int | None = None
    loss: float | None = None
    steps_per_second: float | None = None


class _Complete(_Line, tag="complete"):
    """A step is complete."""

    step: int
    path: str


class _Subscribe(_Line, tag="subscribe"):
    """The client wants to hear of orders."""


class _Flush(_Line, tag="flush"):
    """The client wants everything complete to be sent, and to hear of the end."""


_MESSAGES = msgspec.json.Decoder(_Hello | _Progress | _Complete | _Subscribe | _Flush)


class Listener(Protocol):
    """What the sidecar does with what it hears."""

    def heard_progress(self, progress: Progress) -> None:
        """Take note of the training's progress."""

    async def heard_complete(self, step: int, path: str) -> None:
        """Take the trainer's word. Raises ValueError for a path or step that cannot be."""

    async def heard_flush(self) -> Fields:
        """Send all that is complete and return what the answer says."""


class TrainerSocket:
    """Serves the socket and keeps the subscribers."""

    def __init__(self, path: Path, listener: Listener) -> None:
        self._path = path
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._subscribers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._standing: dict[str, Fields] = {}

    @property
    def subscribers(self) -> int:
        """How many clients hear of orders."""
        return len(self._subscribers)

    async def open(self) -> None:
        """Begin to serve; a socket that an earlier life left is replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unborn = self._path.with_name(f"{self._path.name}.new")
        unborn.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, unborn, limit=_LINE_LIMIT)
        # The trainer's user is not always this one's, and may look for the socket at any moment: it gets its name last.
        unborn.chmod(0o666)
        unborn.rename(self._path)

    async def close(self) -> None:
        """Stop serving and hang up."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._clients):
            writer.close()
        self._path.unlink(missing_ok=True)

    def tell(self, message: Fields, *, standing: str = "") -> int:
        """Send a message to all subscribers and return how many there are.

        One with a name in `standing` is also sent to whoever subscribes later, until it is withdrawn or replaced.
        """
        if standing:
            self._standing[standing] = message
        for writer in list(self._subscribers):
            self._send(writer, message)
        return len(self._subscribers)

    def withdraw(self, standing: str) -> None:
        """Forget a standing message."""
        self._standing.pop(standing, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                await self._answer(line, writer)
        except ValueError:
            self._send(writer, {"type": "error", "message": f"a line is longer than {_LINE_LIMIT} bytes"})
        except ConnectionError:
            pass
        finally:
            self._subscribers.discard(writer)
            self._clients.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            message = _MESSAGES.decode(line)
        except msgspec.DecodeError as error:
            self._send(writer, {"type": "error", "message": f"not understood: {error}"})
            return
        if isinstance(message, _Progress):
            self._listener.heard_progress(
                Progress(
                    step=message.step,
                    total=message.total,
                    loss=message.loss,
                    steps_per_second=message.steps_per_second,
                )
            )
        elif isinstance(message, _Complete):
            await self._complete(message, writer)
        elif isinstance(message, _Flush):
            self._send(writer, {"type": "flushed", **await self._listener.heard_flush()})
        elif isinstance(message, _Subscribe):
            self._subscribers.add(writer)
            for standing in self._standing.values():
                self._send(writer, standing)

    async def _complete(self, message: _Complete, writer: asyncio.StreamWriter) -> None:
        try:
            await self._listener.heard_complete(message.step, message.path)
        except ValueError as error:
            self._send(writer, {"type": "error", "message": str(error)})

    def _send(self, writer: asyncio.StreamWriter, message: Fields) -> None:
        transport = writer.transport
        if transport.is_closing():
            self._subscribers.discard(writer)
            return
        if transport.get_write_buffer_size() > _UNREAD_LIMIT:
            log.warning("sidecar.trainer_does_not_read")
            self._subscribers.discard(writer)
            transport.abort()
            return
        writer.write(msgspec.json.encode(message) + b"\n")


class FlushFailed(Exception):
    """The flush did not come to its end. The message says why."""


async def ask_for_flush(path: Path) -> Fields:
    """Ask the sidecar behind `path` to send all that is complete, and return its answer. Raises `FlushFailed`.

    The caller sets the deadline.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_LINE_LIMIT)
    except OSError as error:
        raise FlushFailed(f"no sidecar answers at {path}: {error}") from error
    try:
        writer.write(b'{"type":"flush"}\n')
        answer = msgspec.json.decode(await reader.readline() or b"{}", type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise FlushFailed(f"the sidecar did not finish the flush: {error}") from error
    finally:
        writer.close()
    if answer.get("type") != "flushed":
        raise FlushFailed(f"the sidecar answered {answer or 'nothing'}")
    return answer
