"""The `ApiTransport` over aiohttp: one pool for requests, another for watches, so that neither starves the other.

The Lease is renewed over a transport of its own, with a pool that nothing else draws from.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from types import TracebackType
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from holdfast.cluster.credentials import Access
from holdfast.cluster.pages import status_of
from holdfast.cluster.turns import LISTS, MUTATIONS, READS
from holdfast.seams import ApiError, WatchStream

# One for every turn, and enough for what needs none: each watch's list, and what the report endpoint asks, which is ten
# times a second at most.
OTHER_CONNECTIONS = 64
REQUEST_CONNECTIONS = MUTATIONS + READS + LISTS + OTHER_CONNECTIONS
# One renewal at a time; another where an answer is still on its way when its time is over.
LEASE_CONNECTIONS = 2
CONNECT_S = 4.0
# The caller's time is for both sends together, so that of one of them has no bound of its own.
_WHOLE = aiohttp.ClientTimeout(total=None)

# Objects are wanted as JSON; the published keys of tokens come only as a type of their own, which is JSON too.
_ACCEPT = "application/json, */*;q=0.5"

# A peer that vanished without a word is noticed after 10 + 3 x 5 s, on watches long before the next bookmark is due.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class HttpTransport:
    """Use as an async context manager; the pools live as long as that."""

    def __init__(
        self, access: Access, *, user_agent: str = "holdfast-operator", connections: int = REQUEST_CONNECTIONS
    ) -> None:
        self._access = access
        self._agent = user_agent
        self._connections = connections
        self._requests: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpTransport:
        self._requests = self._session(self._connections)
        self._watches = self._session(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._requests, self._watches):
            if session is not None:
                await session.close()

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
        """Return the body of a 2xx answer; raise `ApiError` for everything else, time-outs included."""
        if self._requests is None:
            raise RuntimeError("the transport is not open: use it as an async context manager")
        headers = {"Accept": accept or _ACCEPT}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            # With a new token it is sent once more, in the time that is left.
            async with asyncio.timeout(timeout_s):
                for last in (False, True):
                    async with self._requests.request(
                        method,
                        self._url(path, query),
                        data=body,
                        headers=headers | self._access.token.header(),
                        timeout=_WHOLE,
                    ) as response:
                        payload = await response.read()
                        if response.status == 401 and not last and self._access.token.refresh():
                            continue
                        if response.status >= 300:
                            raise _error(response, payload)
                        return payload
        except TimeoutError as error:
            raise ApiError(0, "Timeout", f"{method} {path} had no answer within {timeout_s:.1f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{method} {path}: {error!r}") from error
        raise AssertionError("unreachable")

    def watch(
        self, path: str, *, query: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch; the stream ends when the server closes it and raises `ApiError` when it goes silent."""
        return self._open_watch(path, query, idle_timeout_s)

    @asynccontextmanager
    async def _open_watch(
        self, path: str, query: Mapping[str, str], idle_timeout_s: float
    ) -> AsyncIterator[WatchStream]:
        if self._watches is None:
            raise RuntimeError("the transport is not open: use it as an async context manager")
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=idle_timeout_s)
        headers = {"Accept": _ACCEPT, **self._access.token.header()}
        try:
            response = await self._watches.get(self._url(path, query), headers=headers, timeout=timeout)
        except TimeoutError as error:
            raise ApiError(0, "Timeout", f"watch {path} was not answered") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(0, "Unreachable", f"watch {path}: {error!r}") from error
        try:
            if response.status >= 300:
                if response.status == 401:
                    self._access.token.refresh()
                raise _error(response, await response.read())
            yield _Lines(path, response.content)
        finally:
            response.close()

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        # Paths and queries are made of names that need no quoting, so the whole is taken as it is; tokens are quoted.
        asked = f"?{_asked(tuple(query.items()))}" if query else ""
        return URL(f"{self._access.server}{path}{asked}", encoded=True)

    def _session(self, connections: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector(self._access, connections),
            headers={"User-Agent": self._agent},
            # Answers set none, and to look for some costs every request.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=False,
        )


@lru_cache(maxsize=64)
def _asked(query: tuple[tuple[str, str], ...]) -> str:
    """Return a query as it is sent: most requests of a rush have one of three."""
    return urlencode(query)


class _Lines:
    """The lines of a watch. Own splitting, because an object may be longer than aiohttp's limit of a line."""

    def __init__(self, path: str, content: aiohttp.StreamReader) -> None:
        self._path = path
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: list[bytes] = []
        while chunk := await self._read():
            first, *rest = chunk.split(b"\n")
            parts.append(first)
            for line in rest:
                if whole := b"".join(parts):
                    yield whole
                parts = [line]
        # What follows the last line break was cut off by the end of the stream: the next watch brings it again.

    async def _read(self) -> bytes:
        try:
            return await self._content.readany()
        except TimeoutError as error:
            raise ApiError(0, "Silent", f"watch {self._path} went silent") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(0, "Unreachable", f"watch {self._path}: {error!r}") from error


def _error(response: aiohttp.ClientResponse, payload: bytes) -> ApiError:
    status = status_of(payload)
    wish = response.headers.get("Retry-After", "")
    return ApiError(
        response.status,
        status.reason,
        status.message or response.reason or "",
        retry_after_s=float(wish) if wish.isdigit() else None,
    )


def connector(access: Access, connections: int) -> aiohttp.TCPConnector:
    """Return a pool of at most so many connections to the API server; 0 is no limit."""
    return aiohttp.TCPConnector(
        limit=connections,
        ssl=access.tls if access.tls is not None else True,
        keepalive_timeout=60,
        socket_factory=_socket,
    )


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in _KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
