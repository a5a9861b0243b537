"""One report to the operator and its answer, over TLS that is verified against the Service's name.

A replica that does not lead answers 421 with the leader's address. The leader is then spoken to directly, still under
the Service's name in TLS, until it no longer answers; then the Service is asked again.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from holdfast.api import wire
from holdfast.seams import Spawner

_DEADLINE_S: Final = 10.0
_CONNECT_S: Final = 5.0
_REDIRECTS: Final = 3
_ANSWER_LIMIT: Final = 256 * 1024
WAIT_HEADER: Final = "Holdfast-Wait"


class ReportFailed(Exception):
    """The report did not arrive, or was refused. The message says why."""


class Endpoint:
    """Posts reports. Call `close` at the end."""

    def __init__(self, report_url: str, ca_pem: str, token_path: Path, spawner: Spawner) -> None:
        self._service = URL(report_url)
        self._leader: URL | None = None
        self._token_path = token_path
        self._spawner = spawner
        self._tls: ssl.SSLContext | None = None
        self._unusable = ""
        if self._service.scheme == "https":
            try:
                self._tls = ssl.create_default_context(cadata=ca_pem or None)
            except (ssl.SSLError, ValueError) as error:
                # The data path goes on without reports.
                self._unusable = f"the operator's certificate authority in {wire.CA_VARIABLE} is unreadable: {error}"
        self._session: aiohttp.ClientSession | None = None

    async def post(self, report: wire.Report, wait_s: float = 0.0) -> wire.Answer:
        """Send a report; `wait_s` > 0 lets the operator hold the answer that long. Raises `ReportFailed`."""
        if self._unusable:
            raise ReportFailed(self._unusable)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {await self._token()}"}
        if wait_s > 0:
            headers[WAIT_HEADER] = f"{wait_s:g}"
        body = wire.encode(report)
        for _ in range(_REDIRECTS):
            target = self._leader or self._service
            try:
                status, answer = await self._send(target, body, headers, _DEADLINE_S + wait_s)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._leader = None
                raise ReportFailed(f"{target.host}: {error or type(error).__name__}") from error
            if status == 421:
                self._follow(answer)
                continue
            if status != 200:
                self._leader = None
                raise ReportFailed(f"{target.host} answered {status}: {answer[:200].decode(errors='replace')}")
            try:
                return msgspec.json.decode(answer, type=wire.Answer)
            except msgspec.DecodeError as error:
                raise ReportFailed(f"{target.host} sent an answer that is not one: {error}") from error
        self._leader = None
        raise ReportFailed("the replicas do not agree on who leads")

    async def close(self) -> None:
        """Release connections."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, target: URL, body: bytes, headers: dict[str, str], deadline_s: float) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4))
        options: dict[str, Any] = {}
        if self._tls is not None:
            options = {"ssl": self._tls, "server_hostname": self._service.host}
        timeout = aiohttp.ClientTimeout(total=deadline_s, connect=_CONNECT_S)
        url = target.with_path(wire.REPORT_PATH)
        async with self._session.post(
            url, data=body, headers=headers, timeout=timeout, allow_redirects=False, **options
        ) as answer:
            return answer.status, await answer.content.read(_ANSWER_LIMIT)

    def _follow(self, answer: bytes) -> None:
        """Take the leader's address from a 421. Raises `ReportFailed` where there is none."""
        self._leader = None
        try:
            leader = msgspec.json.decode(answer, type=wire.Redirect).leader
            url = URL(leader)
        except (msgspec.DecodeError, ValueError) as error:
            raise ReportFailed(f"the operator sent a redirect that is not one: {error}") from error
        if not leader:
            raise ReportFailed("no replica of the operator leads at the moment")
        if url.scheme != self._service.scheme or not url.host:
            raise ReportFailed(f"the operator sent to {leader!r}, which is not an address like {self._service}")
        self._leader = url

    async def _token(self) -> str:
        """Read the token anew each time: the kubelet renews it."""
        try:
            return (await self._spawner.blocking(self._token_path.read_text)).strip()
        except OSError as error:
            raise ReportFailed(f"no token for the operator: {error}") from error
