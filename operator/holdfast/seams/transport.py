"""The API server as a protocol: one request, and one watch stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class ApiError(Exception):
    """An answer of the API server other than success, or none at all (`status` 0).

    `reason` and `message` are those of the `Status` object; `retry_after_s` is the server's own wish.
    """

    def __init__(self, status: int, reason: str = "", message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"no answer: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s


class WatchStream(Protocol):
    """The lines of one watch response."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the raw JSON lines, each one watch event."""


class ApiTransport(Protocol):
    """Sends one request to the API server; retries, pooling and authentication are the adapter's concern only
    as far as a single attempt needs them. Paths start with `/api` or `/apis`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float = 4.0,
        accept: str = "",
    ) -> bytes:
        """Return the body of a 2xx answer; raise `ApiError` for everything else, time-outs included.

        `accept` asks for another form of the answer than whole objects as JSON; a server may not know it.
        """

    def watch(
        self, path: str, *, query: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch; the stream ends when the server closes it and raises `ApiError` when it goes silent."""
