"""The report endpoint itself: one path that takes a report and answers with commands, over TLS."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from holdfast.api.wire import REPORT_PATH, Answer, Command, Redirect, Report, Wire, encode
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.reports.tokens import PodIdentity, TokenRefused, TokenVerifier, VerifierBusy

logger = logging.getLogger(__name__)

WAIT_HEADER = "Holdfast-Wait"
BODY_LIMIT = 256 * 1024
READ_S = 10.0
WAIT_MAX_S = 25.0
# Long polls hold a connection each (about 50 kB); beyond this many pods, commands ride on ordinary reports alone.
LONG_POLLS = 2000
# A command that is not acknowledged is repeated after this time: the answer that carried it may have been lost.
RESEND_S = 3.0
INTERVAL_S = 5.0
HEARTBEAT_S = 30.0
# With many pods the intervals grow, so that the endpoint sees about this many reports a second at most.
REPORTS_PER_S = 200.0

_decoder = msgspec.json.Decoder(Report)


class _Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


class Problem(Wire, frozen=True, kw_only=True):
    """The body of a refusal."""

    error: str
    message: str


def _refusal(status: int, error: str, message: str) -> _Refused:
    headers = {"Retry-After": "5"} if status == 503 else {}
    return _Refused(status, encode(Problem(error=error, message=message)), headers)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the endpoint asks of the rest of the replica.

    `pod_exists(uid)` looks into the pod cache; `leader_url()` names the leading replica; `on_answer(status)` counts.
    """

    pod_exists: Callable[[str], bool]
    leading: Callable[[], bool]
    leader_url: Callable[[], str]
    on_answer: Callable[[int], None]


class ReportServer:
    """Answers reports."""

    def __init__(self, verifier: TokenVerifier, inbox: Inbox, commands: CommandBoard, around: Surroundings) -> None:
        self._verifier = verifier
        self._inbox = inbox
        self._commands = commands
        self._around = around
        self._sent: dict[str, tuple[Command, ...]] = {}
        self._polls = 0
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def up(self) -> bool:
        """Say whether the endpoint listens."""
        return self._runner is not None

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    @property
    def polls(self) -> int:
        """Return how many reports wait for a command. A sender that went away is noticed when its wait is over."""
        return self._polls

    @property
    def answered(self) -> int:
        """Return of how many pods the last answer is remembered."""
        return len(self._sent)

    async def start(self, port: int, tls: ssl.SSLContext) -> None:
        """Listen on all addresses; `port` 0 takes a free one of IPv4 and tells it in `port`."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post(REPORT_PATH, self._handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, port=port, ssl_context=tls)
        await site.start()
        # With port 0 each address family gets a port of its own.
        self.port = next(address[1] for address in sorted(runner.addresses, key=lambda item: ":" in item[0]))
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening; long polls are cut."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def forget(self, pod_uid: str) -> None:
        """Forget a pod that is gone."""
        self._sent.pop(pod_uid, None)

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            body = encode(await self._take(request))
        except _Refused as refused:
            self._around.on_answer(refused.status)
            return web.Response(
                status=refused.status, body=refused.body, headers=refused.headers, content_type="application/json"
            )
        self._around.on_answer(200)
        return web.Response(body=body, content_type="application/json")

    async def _take(self, request: web.Request) -> Answer:
        self._check_leading()
        identity = await self._authenticate(request)
        report = await self._read(request)
        self._authorise(identity, report)
        # The term may have ended meanwhile, and the inbox with it.
        self._check_leading()
        self._inbox.put(report)
        commands = self._commands.of(report.pod_uid)
        seconds = _wait_of(request)
        if any(command.id not in report.acknowledged for command in commands):
            seconds = min(seconds, max(RESEND_S, len(self._inbox) / REPORTS_PER_S))
        if seconds > 0 and commands == self._sent.get(report.pod_uid, ()) and self._polls < LONG_POLLS:
            self._polls += 1
            try:
                commands = await self._commands.wait(report.pod_uid, commands, seconds)
            finally:
                self._polls -= 1
            self._check_leading()
        # The pod may have gone while it waited: nothing would forget it a second time.
        if self._around.pod_exists(report.pod_uid):
            self._sent[report.pod_uid] = commands
        return self._answer(report, commands)

    def _answer(self, report: Report, commands: tuple[Command, ...]) -> Answer:
        pods = len(self._inbox)
        polls = report.role == "Sidecar" and pods <= LONG_POLLS and report.phase not in ("Flushed", "Finished")
        return Answer(
            interval_s=max(INTERVAL_S, pods / REPORTS_PER_S),
            heartbeat_s=max(HEARTBEAT_S, 2 * pods / REPORTS_PER_S),
            wait_s=WAIT_MAX_S if polls else 0.0,
            commands=tuple(command for command in commands if command.id not in report.acknowledged),
        )

    def _check_leading(self) -> None:
        if not self._around.leading():
            raise _Refused(421, encode(Redirect(leader=self._around.leader_url())))

    async def _authenticate(self, request: web.Request) -> PodIdentity:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _refusal(401, "NoToken", "send the pod's projected service account token as a bearer token")
        try:
            return await self._verifier.verify(token.strip())
        except TokenRefused as error:
            raise _refusal(401, "TokenRefused", str(error)) from error
        except VerifierBusy as error:
            raise _refusal(503, "Busy", str(error)) from error

    async def _read(self, request: web.Request) -> Report:
        try:
            async with asyncio.timeout(READ_S):
                body = await request.read()
            return _decoder.decode(body)
        except (TimeoutError, OSError) as error:
            # The sender died, or its network did; nobody will read this answer.
            raise _refusal(408, "CutOff", "the report did not arrive whole") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise _refusal(413, "TooLarge", f"a report may have at most {BODY_LIMIT} bytes") from error
        except msgspec.DecodeError as error:
            raise _refusal(400, "BadReport", f"not a report: {error}") from error

    def _authorise(self, identity: PodIdentity, report: Report) -> None:
        if (identity.namespace, identity.pod_name, identity.pod_uid) != (
            report.namespace,
            report.pod_name,
            report.pod_uid,
        ):
            logger.warning(
                "reports.foreign_sender",
                extra={"fields": {"sender": f"{identity.namespace}/{identity.pod_name}", "about": report.pod_name}},
            )
            raise _refusal(403, "OtherPod", "a pod may report only about itself: the token names another pod")
        if not self._around.pod_exists(report.pod_uid):
            raise _refusal(403, "UnknownPod", "this pod is not one of Holdfast's, or it is gone")


def _wait_of(request: web.Request) -> float:
    """Return the seconds that the sender is willing to wait for commands; what is no number counts as 0."""
    try:
        wanted = float(request.headers.get(WAIT_HEADER, "0"))
    except ValueError:
        return 0.0
    return min(max(0.0, wanted), WAIT_MAX_S) if wanted == wanted else 0.0
