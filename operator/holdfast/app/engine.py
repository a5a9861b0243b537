"""The engine: watches and caches on every replica; a queue with workers on the one that leads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from holdfast.app.kinds import Registration
from holdfast.app.passes import History
from holdfast.app.process import Heartbeat
from holdfast.app.reconcile import Outcome, Reconciler
from holdfast.app.watched import Watched
from holdfast.cluster.client import LeadershipLost
from holdfast.cluster.lease import LeaseElector
from holdfast.cluster.objects import Key
from holdfast.cluster.queue import WorkQueue
from holdfast.cluster.waiting import stop_tasks, wait_for_event
from holdfast.planning.plan import Resource
from holdfast.seams import Clock, Spawner

logger = logging.getLogger(__name__)

Work = tuple[Registration, Key]

# A pass waits for single requests of at most 4 s each; what takes longer at the end is left to the next leader.
DRAIN_S = 8.0
BEAT_S = 0.5
# A gang of a thousand takes some 10 ms to plan, and starts with thousands of events. After a plan that is this dear the
# object rests for a multiple of the time, so that planning it takes a small part of a core at most. Not after what is
# only the beginning, such as an attempt that is written ahead: nothing of the work has been done yet.
DEAR_S = 0.003
REST_FACTOR = 10.0
REST_MAX_S = 1.0


class Engine:
    """Turns wake-ups into passes while this replica leads and `ready()` says that plans have all they need."""

    def __init__(
        self,
        watched: Watched,
        reconciler: Reconciler,
        elector: LeaseElector,
        queue: WorkQueue[Work],
        clock: Clock,
        spawner: Spawner,
        *,
        workers: int,
        ready: Callable[[], bool],
    ) -> None:
        self.watched = watched
        self.reconciler = reconciler
        self.elector = elector
        self.queue = queue
        self.heartbeat = Heartbeat(clock)
        self.history = History()
        self._clock = clock
        self._spawner = spawner
        self._workers = workers
        self._ready = ready
        self._pass_listeners: list[Callable[[float, str], None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._worker_tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._leading_changed = asyncio.Event()
        self._stopping = False
        self._something_came_free = False
        elector.listen(lambda leading: self._leading_changed.set())

    def on_pass(self, listener: Callable[[float, str], None]) -> None:
        """Call `listener(seconds, result)` after every pass; the result is `done`, `retry`, or `error` if it raised."""
        self._pass_listeners.append(listener)

    def wake(self, resource: Resource | None, key: Key | None, *, within_s: float = 0.0) -> None:
        """Have an object planned soon; with (None, None) all that wait, within half a second. Followers ignore it.

        A gang that ends frees its places pod by pod: those who wait are not planned anew for each of them.
        """
        if not self._worker_tasks or self._stopping:
            return
        if resource is None or key is None:
            self._something_came_free = True
        elif (registration := self.watched.registrations.get(resource)) is not None:
            self.queue.add((registration, key), within_s=within_s)

    def start(self) -> None:
        """Start watching and competing for the lease."""
        self._tasks = [
            *self.watched.start(self._spawner),
            self._spawner.spawn(self.elector.run(), name="lease"),
            self._spawner.spawn(self._follow_leadership(), name="leadership"),
            self._spawner.spawn(self.heartbeat.run(), name="heartbeat"),
        ]

    async def stop(self) -> None:
        """Let the passes under way end, give the lease back, stop watching."""
        self._stopping = True
        self.queue.clear()
        self._idle.clear()
        if self.queue.busy:
            await wait_for_event(self._idle, DRAIN_S, self._clock, self._spawner)
        await self._stop_workers()
        await self.elector.stop()
        await stop_tasks(*self._tasks)
        await self.queue.close()

    def dead_tasks(self) -> list[str]:
        """Return the names of tasks that should run for ever and do not: the process must be started anew."""
        return [task.get_name() for task in (*self._tasks, *self._worker_tasks) if task.done()]

    async def _follow_leadership(self) -> None:
        """Run workers while leading and only with filled caches; a plan from half a cache would create doubles."""
        while True:
            self._leading_changed.clear()
            leading = self.elector.leading
            if leading and not self._worker_tasks and self._may_start():
                self._start_workers()
            elif not leading and self._worker_tasks:
                await self._stop_workers()
            elif self._something_came_free and self._worker_tasks and not self._stopping:
                self._something_came_free = False
                for work in self.reconciler.waiting():
                    self.queue.add(work)
            self.reconciler.tell_put_offs()
            await wait_for_event(self._leading_changed, BEAT_S, self._clock, self._spawner)

    def _may_start(self) -> bool:
        return not self._stopping and self.watched.synced and self._ready()

    def _start_workers(self) -> None:
        self._worker_tasks = [
            self._spawner.spawn(self._work(), name=f"worker-{number}") for number in range(self._workers)
        ]
        for registration in self.watched.registrations.values():
            for key in self.watched.objects[registration.resource].sorted_keys():
                self.queue.add((registration, key))
        for pod in self.watched.pods.values():
            for registration, key in self.watched.owners_of(pod):
                self.queue.add((registration, key))
        logger.info("engine.leads", extra={"fields": {"objects": len(self.queue)}})

    async def _stop_workers(self) -> None:
        tasks, self._worker_tasks = self._worker_tasks, []
        await stop_tasks(*tasks)
        self.queue.clear()
        self.reconciler.forget_all()

    async def _work(self) -> None:
        while True:
            work = await self.queue.take()
            rest_s = 0.0
            try:
                rest_s = await self._pass(work)
            finally:
                self.queue.done(work, rest_s=rest_s)
                if not self.queue.busy:
                    self._idle.set()

    async def _pass(self, work: Work) -> float:
        """Make one pass. Return for how long the object rests."""
        registration, key = work
        began = self._clock.monotonic()
        outcome: Outcome | None = None
        try:
            outcome = await self.reconciler.reconcile(registration, key)
        except LeadershipLost:
            # Where the lease is held again before anybody noticed, the workers go on, and this object is not lost. At
            # once it would only meet the same until they are stopped, which clears the queue.
            self._leading_changed.set()
            if not self._stopping:
                self.queue.retry(work)
            return 0.0
        except Exception:
            # A plan that raises is a bug; the other objects must not suffer from it.
            logger.exception("pass.failed", extra={"fields": {"namespace": key[0], "object": key[1]}})
        seconds, result = self._clock.monotonic() - began, _result_of(outcome)
        self.history.add(_name_of(work), self._clock.now(), seconds, result)
        for listener in self._pass_listeners:
            listener(seconds, result)
        self._reschedule(work, outcome)
        if outcome is None or outcome.begun or outcome.planning_s <= DEAR_S:
            return 0.0
        return min(REST_MAX_S, REST_FACTOR * outcome.planning_s)

    def _reschedule(self, work: Work, outcome: Outcome | None) -> None:
        if self._stopping:
            return
        if outcome is None:
            self.queue.retry(work)
            return
        if outcome.retry:
            failures = outcome.result.failures if outcome.result is not None else []
            self.queue.retry(work, at_least_s=max((error.retry_after_s or 0.0 for error in failures), default=0.0))
            self._log_trouble(work[1], outcome)
            return
        self.queue.alarm(work, outcome.alarm_s)
        self.queue.forget(work)
        if outcome.again:
            self.queue.add(work)

    @staticmethod
    def _log_trouble(key: Key, outcome: Outcome) -> None:
        result = outcome.result
        if result is None or not (result.failures or result.refusals):
            return
        problems = [str(error) for error in result.failures[:3]]
        problems += [f"{refusal.name}: {refusal.code} {refusal.reason}" for refusal in result.refusals[:3]]
        fields = {"namespace": key[0], "object": key[1], "problems": problems}
        logger.warning("pass.incomplete", extra={"fields": fields})


def _result_of(outcome: Outcome | None) -> str:
    return "error" if outcome is None else "retry" if outcome.retry else "done"


def _name_of(work: Work) -> str:
    registration, (namespace, name) = work
    return f"{registration.resource.plural}/{namespace}/{name}"
