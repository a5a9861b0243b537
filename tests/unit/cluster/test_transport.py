"""The transport against a real HTTP server on loopback: answers, errors, time-outs, token rotation, long lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from holdfast.cluster.credentials import Access, Token
from holdfast.cluster.transport import HttpTransport
from holdfast.seams import ApiError
from holdfast.seams.real import SystemClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server whose one handler a test sets."""

    def __init__(self) -> None:
        self.base = ""
        self.handler: Handler = self._nothing
        self.seen: list[web.Request] = []
        self.bodies: list[bytes] = []

    async def start(self) -> str:
        app = web.Application(client_max_size=10**7)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.bodies.append(await request.read())
        return await self.handler(request)

    @staticmethod
    async def _nothing(_: web.Request) -> web.StreamResponse:
        return web.json_response({})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    made.base = await made.start()
    yield made
    await made.runner.cleanup()


def access(site: Site, token: Token | None = None) -> Access:
    return Access(site.base, None, token or Token(SystemClock(), value="secret"), "ns")


@pytest.fixture
async def transport(site: Site) -> AsyncIterator[HttpTransport]:
    async with HttpTransport(access(site)) as made:
        yield made


async def test_a_request_carries_what_it_must(site: Site, transport: HttpTransport) -> None:
    async def created(_: web.Request) -> web.StreamResponse:
        return web.json_response({"ok": True}, status=201)

    site.handler = created
    query = {"fieldManager": "holdfast", "labelSelector": "a=b,c!=d e+f&g"}
    answer = await transport.request(
        "PATCH", "/api/v1/pods", query=query, body=b'{"a":1}', content_type="application/merge-patch+json"
    )
    assert answer == b'{"ok": true}'
    request = site.seen[0]
    assert request.method == "PATCH"
    assert dict(request.query) == query
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Accept"].startswith("application/json, */*"), "the published keys are another type"
    assert request.headers["User-Agent"] == "holdfast-operator"
    assert site.bodies == [b'{"a":1}']


async def test_a_refusal_carries_the_servers_words_and_wishes(site: Site, transport: HttpTransport) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "slow down"}
        return web.json_response(body, status=429, headers={"Retry-After": "3"})

    site.handler = busy
    with pytest.raises(ApiError) as caught:
        await transport.request("GET", "/x")
    error = caught.value
    assert (error.status, error.reason, error.message, error.retry_after_s) == (429, "TooManyRequests", "slow down", 3)


async def test_a_refusal_by_a_proxy_is_understood_too(site: Site, transport: HttpTransport) -> None:
    async def gateway(_: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="<html>Bad Gateway</html>", headers={"Retry-After": "Sun, 1 Jan"})

    site.handler = gateway
    with pytest.raises(ApiError) as caught:
        await transport.request("GET", "/x")
    assert (caught.value.status, caught.value.retry_after_s) == (502, None)
    assert "Bad Gateway" in caught.value.message


async def test_no_answer_is_an_error_with_status_zero(site: Site, transport: HttpTransport) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    site.handler = hang
    with pytest.raises(ApiError, match=r"no answer within 0\.2 s") as caught:
        await transport.request("GET", "/x", timeout_s=0.2)
    assert caught.value.status == 0
    await site.runner.cleanup()
    with pytest.raises(ApiError) as refused:
        await transport.request("GET", "/x")
    assert (refused.value.status, refused.value.reason) == (0, "Unreachable")


async def test_a_rotated_token_is_read_again_after_a_401(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")

    async def check(request: web.Request) -> web.StreamResponse:
        good = request.headers["Authorization"] == "Bearer new"
        return web.json_response({}, status=200 if good else 401)

    site.handler = check
    async with HttpTransport(access(site, Token(SystemClock(), path=file))) as transport:
        with pytest.raises(ApiError) as caught:
            await transport.request("GET", "/x")
        assert caught.value.status == 401
        file.write_text("new\n")
        await transport.request("GET", "/x")
    assert [request.headers["Authorization"] for request in site.seen] == ["Bearer old"] * 3 + ["Bearer new"]


async def test_watch_lines_of_any_length_arrive_whole(site: Site, transport: HttpTransport) -> None:
    lines = [b'{"a":1}', b'{"b":"' + b"x" * 3_000_000 + b'"}', b'{"c":3}']

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        whole = b"\n".join(lines) + b"\n\n" + b'{"cut off'
        for start in range(0, len(whole), 100_003):
            await response.write(whole[start : start + 100_003])
        return response

    site.handler = stream
    async with transport.watch("/w", query={"watch": "1"}, idle_timeout_s=5) as opened:
        assert [line async for line in opened] == lines


async def test_a_watch_that_goes_silent_says_so(site: Site, transport: HttpTransport) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"a":1}\n')
        await asyncio.sleep(30)
        return response

    site.handler = stream
    got: list[bytes] = []
    with pytest.raises(ApiError, match="went silent"):
        await read(transport, got, idle_timeout_s=0.3)
    assert got == [b'{"a":1}']


async def read(transport: HttpTransport, into: list[bytes], *, idle_timeout_s: float = 5) -> None:
    async with transport.watch("/w", query={}, idle_timeout_s=idle_timeout_s) as stream:
        async for line in stream:
            into[len(into) :] = [line]


async def test_a_watch_that_breaks_says_so(site: Site, transport: HttpTransport) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"a":1}\n')
        assert request.transport is not None
        request.transport.abort()
        return response

    site.handler = stream
    with pytest.raises(ApiError) as caught:
        await read(transport, [])
    assert caught.value.status == 0


async def test_a_new_token_gets_what_is_left_of_the_time_and_no_more(site: Site, tmp_path: Path) -> None:
    held = tmp_path / "token"
    held.write_text("old")

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer old":
            await asyncio.sleep(1.5)
            held.write_text("new")
            return web.json_response({}, status=401)
        await asyncio.sleep(1.0)
        return web.json_response({})

    site.handler = handler
    async with HttpTransport(access(site, Token(SystemClock(), path=held))) as transport:
        with pytest.raises(ApiError) as caught:
            await transport.request("POST", "/x", body=b"{}", timeout_s=2.0)
    assert caught.value.reason == "Timeout"
    assert len(site.seen) == 2


@pytest.mark.parametrize("status", [401, 410, 500])
async def test_a_watch_that_is_refused_says_why(site: Site, transport: HttpTransport, status: int) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "code": status, "reason": "No"}, status=status)

    site.handler = refuse
    with pytest.raises(ApiError) as caught:
        await read(transport, [])
    assert (caught.value.status, caught.value.reason) == (status, "No")


async def test_watches_do_not_use_up_the_requests_connections(site: Site, transport: HttpTransport) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/w":
            await asyncio.sleep(30)
        return web.json_response({})

    site.handler = answer
    watches = [asyncio.ensure_future(read(transport, [], idle_timeout_s=20)) for _ in range(60)]
    await asyncio.sleep(0.1)
    await transport.request("GET", "/x", timeout_s=2)
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)


async def test_it_must_be_opened_first(site: Site) -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        await HttpTransport(access(site)).request("GET", "/x")
