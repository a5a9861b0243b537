"""The wiring of one replica: every part made once, started and stopped in order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from holdfast.app.currency import Currency
from holdfast.app.engine import Engine
from holdfast.app.health import HealthServer
from holdfast.app.kinds import REGISTERED, Registration
from holdfast.app.metrics import MeasuredTransport, Metrics, phases
from holdfast.app.missing_nodes import MissingNodes
from holdfast.app.reconcile import Outcome, Reconciler
from holdfast.app.settings import OperatorSettings
from holdfast.app.watched import Watched
from holdfast.cluster.apply import Applier
from holdfast.cluster.cache import Cache
from holdfast.cluster.client import ApiClient
from holdfast.cluster.events import EventRecorder
from holdfast.cluster.lease import LeaseElector
from holdfast.cluster.objects import Key
from holdfast.cluster.queue import WorkQueue
from holdfast.cluster.reflector import WatchSettings
from holdfast.planning.observed import CustomObject, Pod, Settings
from holdfast.planning.plan import Resource
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.reports.server import Surroundings
from holdfast.reports.service import Place, ReportService
from holdfast.seams import ApiTransport, Clock, Random, Spawner

EVENT_DEADLINE_S = 1.5


class Replica:
    """One replica of the operator on any transport, clock and spawner: the real ones, or a simulation's."""

    def __init__(
        self,
        settings: OperatorSettings,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        spawner: Spawner,
        *,
        registrations: tuple[Registration, ...] = REGISTERED,
        watch: WatchSettings = WatchSettings(),  # noqa: B008 - frozen
    ) -> None:
        self.settings = settings
        self._clock = clock
        self.metrics = Metrics()
        measured = MeasuredTransport(transport, self.metrics, clock)
        self.elector = LeaseElector(
            measured,
            clock,
            random,
            spawner,
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=settings.identity,
        )
        self.watched = Watched(measured, clock, random, registrations, self.wake, settings=watch)
        self.inbox = Inbox(clock)
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
                on_answer=lambda status: self.metrics.reports.labels(str(status)).inc(),
            ),
        )
        client = ApiClient(measured, clock, random, gate=self.elector.gate)
        events = ApiClient(measured, clock, random, gate=self.elector.gate, deadline_s=EVENT_DEADLINE_S)
        recorder = EventRecorder(events, clock, controller="holdfast.dev/operator", instance=settings.pod_name)
        applier = Applier(client, self.watched.expectations, recorder, clock, spawner)
        self.reconciler = Reconciler(
            self.watched,
            applier,
            self.inbox,
            self.commands,
            MissingNodes(client, clock, spawner),
            Currency(self.watched, client),
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
        self.health = HealthServer(self.engine, self.metrics, self.reports, state=self.debug_state)
        self.elector.listen(self._led)
        self.watched.pods.listen(self._forget_pod)
        self.inbox.listen(lambda report: self._wake_owners(report.pod_uid))
        self.engine.on_pass(self._count_pass)
        self._add_gauges()

    async def start(self, *, serve: bool = True) -> None:
        """Start the engine; with `serve` also the health server and the report endpoint."""
        if serve:
            await self.health.start(self.settings.http_port)
        if self.settings.report_service:
            self.reports.start(self.settings.report_port if serve else None)
        self.engine.start()

    async def stop(self) -> None:
        """Stop in the order that loses nothing: answers first, then passes, then the lease, then the servers."""
        await self.reports.stop()
        await self.engine.stop()
        await self.health.stop()

    def debug_state(self) -> Mapping[str, object]:
        """Return what is going on inside."""
        watched = self.watched
        return {
            "identity": self.settings.identity,
            "leader": self.elector.leader,
            "leading": self.elector.leading,
            "queue": {
                "waiting": len(self.engine.queue),
                "busy": self.engine.queue.busy,
                "alarms": self.engine.queue.alarms,
                "oldestSeconds": round(self.engine.queue.oldest_s(), 3),
            },
            "caches": {
                resource.plural: {
                    "objects": len(watched.caches[resource]),
                    "synced": watched.caches[resource].synced,
                    "silentSeconds": round(reflector.silence_s(), 3),
                    "lists": reflector.relists,
                    "oddObjects": reflector.odd_objects,
                }
                for resource, reflector in watched.reflectors.items()
            },
            "expecting": len(watched.expectations),
            "reports": {"pods": len(self.inbox), "accepted": self.inbox.accepted, "stale": self.inbox.stale},
            "commanded": len(self.commands),
            "objects": {
                f"{registration.resource.plural}/{key[0]}/{key[1]}": {
                    "waiting": memory.waiting,
                    "refusals": [f"{item.name}: {item.code} {item.reason}" for item in memory.refusals],
                    "dryRun": memory.dry_run,
                }
                for (registration, key), memory in self.reconciler.memories().items()
            },
        }

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

    def _forget_pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            uid = old.metadata.uid
            self.inbox.drop(uid)
            self.commands.drop((uid,))
            self.reports.forget(uid)

    def _count_pass(self, seconds: float, outcome: Outcome | None) -> None:
        result = "error" if outcome is None else "retry" if outcome.retry else "done"
        self.metrics.passes.labels(result).observe(seconds)

    def _add_gauges(self) -> None:
        metrics, engine, watched = self.metrics, self.engine, self.watched
        metrics.gauge("holdfast_leader", "1 on the replica that leads.", lambda: float(self.elector.leading))
        metrics.gauge("holdfast_queue_depth", "Objects that wait for a worker.", lambda: float(len(engine.queue)))
        metrics.gauge("holdfast_queue_oldest_seconds", "How long the oldest of them waits.", engine.queue.oldest_s)
        metrics.gauge("holdfast_reporting_pods", "Pods that have reported.", lambda: float(len(self.inbox)))
        metrics.gauge(
            "holdfast_token_reviews",
            "Tokens that could not be verified locally since the start.",
            lambda: float(self.reports.reviews),
        )
        metrics.gauges(
            "holdfast_watch_silence_seconds",
            "Time since the last list, event or bookmark, by watched resource.",
            "resource",
            lambda: {resource.plural: item.silence_s() for resource, item in watched.reflectors.items()},
        )
        metrics.gauges(
            "holdfast_watched_objects",
            "Objects in the caches, by resource.",
            "resource",
            lambda: {resource.plural: float(len(cache)) for resource, cache in watched.caches.items()},
        )
        metrics.gauges(
            "holdfast_odd_objects_total",
            "Objects that could not be read, by resource.",
            "resource",
            lambda: {resource.plural: float(item.odd_objects) for resource, item in watched.reflectors.items()},
        )
        for resource, cache in watched.objects.items():
            name, text = f"holdfast_{resource.plural}", f"{resource.kind} objects by phase."
            metrics.gauges(name, text, "phase", partial(_phases_in, cache))


def _phases_in(cache: Cache[CustomObject]) -> dict[str, float]:
    return phases(str(item.status.get("phase", "Pending")) for item in cache.values())
