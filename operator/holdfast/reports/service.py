"""The report endpoint as one part of a replica: authority, leaf and its renewal, server."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass

from holdfast.cluster.client import ApiClient
from holdfast.cluster.waiting import stop_tasks
from holdfast.reports.authority import Authority, AuthorityError, Leaf, issue_leaf, load_or_create
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.reports.server import ReportServer, Surroundings
from holdfast.reports.tokens import TokenVerifier
from holdfast.seams import ApiError, ApiTransport, Clock, Random, Spawner

logger = logging.getLogger(__name__)

CHECK_S = 3600.0
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the endpoint is: its DNS name (empty: reports are off), our namespace, the authority's Secret in it."""

    host: str
    namespace: str
    authority_secret: str


class ReportService:
    """Runs on every replica; followers answer with the leader's address."""

    def __init__(
        self,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        spawner: Spawner,
        inbox: Inbox,
        commands: CommandBoard,
        place: Place,
        around: Surroundings,
    ) -> None:
        self._clock = clock
        self._random = random
        self._spawner = spawner
        self._host = place.host
        self._place = place
        # Not behind the leader's gate: every replica needs the authority, and creating it if absent is atomic.
        self._client = ApiClient(transport, clock, random)
        self._verifier = TokenVerifier(transport, clock)
        self._server = ReportServer(self._verifier, inbox, commands, around)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._authority: Authority | None = None
        self._leaf: Leaf | None = None
        self._port: int | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Say whether pods can be told where and to whom to report: it listens, or it is switched off."""
        return not self._host or (self._authority is not None and (self._port is None or self._server.up))

    @property
    def authority_pem(self) -> str:
        """Return the authority's certificate, empty until it is known."""
        return self._authority.certificate_pem if self._authority is not None else ""

    @property
    def reviews(self) -> int:
        """Return how many tokens the API server was asked about; more than a few mean that its keys are not had."""
        return self._verifier.reviews

    @property
    def server(self) -> ReportServer:
        """Return the server, to look at what it holds."""
        return self._server

    @property
    def port(self) -> int:
        """Return the port that is listened on, 0 before."""
        return self._server.port

    def start(self, port: int | None) -> None:
        """Begin: get the authority, listen on `port` (None: do not listen), keep the leaf fresh."""
        self._port = port
        if self._host:
            self._task = self._spawner.spawn(self._run(), name="reports")

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await stop_tasks(self._task)
        await self._server.stop()

    def forget(self, pod_uid: str) -> None:
        """Forget a pod that is gone."""
        self._server.forget(pod_uid)

    def dead(self) -> bool:
        """Say whether the part has ended though it should run for ever."""
        return self._task is not None and self._task.done()

    async def _run(self) -> None:
        pause = RETRY_FIRST_S
        while True:
            try:
                await self._check()
            except (ApiError, AuthorityError, OSError) as error:
                logger.error("reports.not_ready", extra={"fields": {"error": str(error)}})
                await self._clock.sleep(pause * self._random.uniform(0.75, 1.25))
                pause = min(RETRY_MAX_S, pause * 2)
            else:
                pause = RETRY_FIRST_S
                await self._clock.sleep(CHECK_S)

    async def _check(self) -> None:
        """Bring everything into the state it should be in; called once an hour, and until it succeeds."""
        now = self._clock.now()
        authority = await load_or_create(
            self._client, self._place.namespace, self._place.authority_secret, now, self._authority
        )
        if authority != self._authority or self._leaf is None or self._leaf.due(now):
            self._leaf = issue_leaf(authority, self._names(), now)
            self._leaf.load_into(self._tls)
            self._authority = authority
            logger.info("reports.leaf_issued", extra={"fields": {"endsAt": self._leaf.ends_at.isoformat()}})
        if self._port is not None and not self._server.up:
            await self._server.start(self._port, self._tls)
            logger.info("reports.listening", extra={"fields": {"port": self._server.port, "host": self._host}})
        # Followers too: when one of them takes the lead, all pods come at once.
        await self._verifier.prepare()

    def _names(self) -> list[str]:
        service, _, rest = self._host.partition(".")
        namespace = rest.partition(".")[0]
        return [self._host, f"{self._host}.cluster.local", f"{service}.{namespace}", service]
