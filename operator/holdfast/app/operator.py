"""The wiring of one replica: every part made once, started and stopped in order."""

from __future__ import annotations

from holdfast.app import gauges, series
from holdfast.app.currency import Currency
from holdfast.app.debug import Inside
from holdfast.app.engine import Engine
from holdfast.app.health import HealthServer
from holdfast.app.kinds import REGISTERED, Registration
from holdfast.app.metrics import MeasuredTransport, Metrics
from holdfast.app.missing_nodes import MissingNodes
from holdfast.app.reconcile import Reconciler
from holdfast.app.settings import OperatorSettings
from holdfast.app.tally import Tally
from holdfast.app.watched import Watched
from holdfast.cluster.apply import Applier
from holdfast.cluster.client import ApiClient
from holdfast.cluster.events import EventRecorder
from holdfast.cluster.lease import LeaseElector
from holdfast.cluster.objects import Key
from holdfast.cluster.queue import WorkQueue
from holdfast.cluster.reflector import WatchSettings
from holdfast.cluster.turns import Turns
from holdfast.planning.observed import Pod, Settings
from holdfast.planning.plan import Resource
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.reports.server import Surroundings
from holdfast.reports.service import Place, ReportService
from holdfast.seams import ApiTransport, Clock, Random, Spawner

EVENT_DEADLINE_S = 1.5
SERVED_S = 0.2


class Replica:
    """One replica of the operator on any transport, clock and spawner: the real ones, or a simulation's.

    `lease_transport` is for the Lease alone, so that nothing stands before its renewals; without it, the same does.
    """

    def __init__(
        self,
        settings: OperatorSettings,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        spawner: Spawner,
        *,
        lease_transport: ApiTransport | None = None,
        registrations: tuple[Registration, ...] = REGISTERED,
        watch: WatchSettings = WatchSettings(),  # noqa: B008 - frozen
    ) -> None:
        self.settings = settings
        self._clock = clock
        self.metrics = Metrics()
        measured = MeasuredTransport(transport, self.metrics, clock)
        self.elector = LeaseElector(
            MeasuredTransport(lease_transport or transport, self.metrics, clock),
            clock,
            random,
            spawner,
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=settings.identity,
        )
        self.watched = Watched(measured, clock, random, registrations, self.wake, settings=watch)
        self.inbox = Inbox(clock)
        turns = Turns()
        self.commands = CommandBoard(clock, spawner)
        self.reports = ReportService(
            measured,
            clock,
            random,
            spawner,
            self.inbox,
            self.commands,
            Place(settings.report_host, settings.namespace, settings.authority_secret),
            Surroundings(
                pod_exists=lambda uid: self.watched.pod_by_uid(uid) is not None,
                leading=lambda: self.elector.leading,
                leader_url=lambda: settings.address_of(self.elector.leader),
                on_answer=lambda status: self.metrics.count(series.REPORTS, str(status)),
            ),
        )
        gate = self.elector.gate
        client = ApiClient(measured, clock, random, gate=gate, turns=turns)
        events = ApiClient(measured, clock, random, gate=gate, turns=turns, deadline_s=EVENT_DEADLINE_S)
        recorder = EventRecorder(events, clock, controller="holdfast.dev/operator", instance=settings.pod_name)
        applier = Applier(client, self.watched.expectations, recorder, clock, spawner)
        self.reconciler = Reconciler(
            self.watched,
            applier,
            self.inbox,
            self.commands,
            MissingNodes(client, clock, spawner),
            Currency(self.watched, client, clock, spawner),
            clock,
            self._installation_settings,
        )
        self.engine = Engine(
            self.watched,
            self.reconciler,
            self.elector,
            WorkQueue(clock, random, spawner),
            clock,
            spawner,
            workers=settings.workers,
            ready=lambda: self.reports.up,
        )
        self.tally = Tally(self.metrics, lambda: self.reconciler.leading_since, self._owner_uid)
        inside = Inside(settings.identity, self.engine, self.inbox, self.commands, clock)
        self.health = HealthServer(self.engine, self.metrics, self.reports, inside)
        self.elector.listen(self._led)
        self.watched.pods.listen(self._forget_pod)
        self.inbox.listen(lambda report: self._wake_owners(report.pod_uid))
        self.inbox.listen(self.tally.reported)
        self.watched.pods.listen(self.tally.pod_changed)
        for jobs in self.watched.objects.values():
            jobs.listen(self.tally.job_changed)
        self.engine.on_pass(self._count_pass)
        gauges.add(self.metrics, self.engine, self.reports, self.inbox, self.commands, self.tally, clock)

    async def start(self, *, serve: bool = True) -> None:
        """Start the engine; with `serve` also the health server and the report endpoint."""
        if serve:
            await self.health.start(self.settings.http_port)
        if self.settings.report_service:
            self.reports.start(self.settings.report_port if serve else None)
        self.engine.start()

    async def served(self) -> None:
        """Wait until the API server serves our kinds: for seconds after their CRDs were created it does not."""
        while not all(cache.synced for cache in self.watched.objects.values()):
            await self._clock.sleep(SERVED_S)

    async def stop(self) -> None:
        """Stop in the order that loses nothing: answers first, then passes, then the lease, then the servers."""
        await self.reports.stop()
        await self.engine.stop()
        await self.health.stop()

    def _installation_settings(self) -> Settings:
        return Settings(
            sidecar_image=self.settings.sidecar_image,
            sidecar_environment=self.settings.sidecar_environment,
            report_url=self.settings.report_url,
            ca_pem=self.reports.authority_pem,
        )

    def wake(self, resource: Resource | None, key: Key | None, *, within_s: float = 0.0) -> None:
        """Have an object planned soon, with (None, None) all that wait for something."""
        self.engine.wake(resource, key, within_s=within_s)

    def _wake_owners(self, pod_uid: str) -> None:
        if (pod := self.watched.pod_by_uid(pod_uid)) is not None:
            for registration, key in self.watched.owners_of(pod):
                self.wake(registration.resource, key)

    def _led(self, leading: bool) -> None:
        """Begin or end a term: reports go to whoever leads, so those of an earlier term tell nothing."""
        self.reconciler.leading_since = self._clock.now() if leading else None
        if not leading:
            self.inbox.clear()
            self.tally.clear()

    def _forget_pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            uid = old.metadata.uid
            self.inbox.drop(uid)
            self.commands.drop((uid,))
            self.reports.forget(uid)

    def _count_pass(self, seconds: float, result: str) -> None:
        self.metrics.observe(series.PASSES, seconds, result)

    def _owner_uid(self, pod_uid: str) -> str | None:
        """Return the UID of the job that a pod belongs to, None where either is gone."""
        if (pod := self.watched.pod_by_uid(pod_uid)) is None:
            return None
        owners = (self.watched.objects[one.resource].get(*key) for one, key in self.watched.owners_of(pod))
        uids = {owner.metadata.uid for owner in owners if owner is not None}
        return pod.metadata.controller_uid if pod.metadata.controller_uid in uids else None
