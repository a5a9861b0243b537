"""The series that are read when they are scraped, and where each reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from holdfast.api.reasons import Reason
from holdfast.api.status import Phase
from holdfast.app import process, series
from holdfast.app.engine import Engine
from holdfast.app.metrics import Metrics
from holdfast.app.tally import Tally, oldest_commit_s
from holdfast.planning.observed import CustomObject
from holdfast.planning.plan import TRAINING_JOBS
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.reports.service import ReportService
from holdfast.seams import Clock

_FINE = frozenset({"", Reason.READY.value})


def add(
    metrics: Metrics,
    engine: Engine,
    reports: ReportService,
    inbox: Inbox,
    commands: CommandBoard,
    tally: Tally,
    clock: Clock,
) -> None:
    """Wire every one of them."""
    _engine(metrics, engine)
    _reports(metrics, reports, inbox, commands, clock)
    _jobs(metrics, engine, tally, clock.now)
    metrics.announce(series.PASSES, series.API_REQUESTS, series.API_SECONDS, series.REPORTS)
    metrics.read(series.LOOP_LAG, engine.heartbeat.worst_s)
    metrics.read(series.TASKS, process.task_count)
    metrics.read(series.THREADS, process.threads)
    metrics.read(series.SOCKETS, process.sockets)


def _engine(metrics: Metrics, engine: Engine) -> None:
    queue, watched, elector = engine.queue, engine.watched, engine.elector
    metrics.read(series.LEADER, lambda: float(elector.leading))
    metrics.read(series.LEASE_SILENCE, elector.silence_s)
    metrics.read(series.QUEUE_DEPTH, lambda: float(len(queue)))
    metrics.read(series.QUEUE_OLDEST, queue.oldest_s)
    metrics.read(series.QUEUE_BUSY, lambda: float(queue.busy))
    metrics.read(series.QUEUE_BACKING_OFF, lambda: float(queue.backing_off))
    metrics.read(series.EXPECTATIONS, lambda: float(len(watched.expectations)))
    metrics.read(series.UNCONFIRMED, lambda: float(len(engine.reconciler.put_offs())))
    metrics.read(series.WATCH_SILENCE, lambda: {word: one.silence_s() for word, (one, _) in watched.followed().items()})
    metrics.read(
        series.WATCHED_OBJECTS, lambda: {word: float(len(cache)) for word, (_, cache) in watched.followed().items()}
    )
    metrics.read(series.LISTS, lambda: {word: float(one.relists) for word, (one, _) in watched.followed().items()})
    metrics.read(
        series.ODD_OBJECTS, lambda: {word: float(one.odd_objects) for word, (one, _) in watched.followed().items()}
    )


def _reports(metrics: Metrics, reports: ReportService, inbox: Inbox, commands: CommandBoard, clock: Clock) -> None:
    phases = series.LABELS["pod_phase"] or ()
    metrics.read(series.REPORTING_PODS, lambda: _numbers(Counter(one.report.phase for one in inbox.all()), phases))
    metrics.read(
        series.REPORT_OLDEST,
        lambda: max(((clock.now() - one.at).total_seconds() for one in inbox.all()), default=0.0),
    )
    metrics.read(
        series.STORE_TROUBLE,
        lambda: _numbers(
            Counter(one.report.store.reason for one in inbox.all() if one.report.store.reason not in _FINE),
            series.LABELS["store_reason"] or (),
        ),
    )
    metrics.read(series.PENDING_BYTES, lambda: float(sum(one.report.pending_bytes for one in inbox.all())))
    metrics.read(series.COMMANDED_PODS, lambda: float(len(commands)))
    metrics.read(series.TOKEN_REVIEWS, lambda: float(reports.reviews))
    metrics.read(series.REPORT_CONNECTIONS, lambda: float(reports.server.connections))
    metrics.read(series.REPORT_POLLS, lambda: float(reports.server.polls))
    metrics.read(series.ANSWERED_PODS, lambda: float(reports.server.answered))


def _jobs(metrics: Metrics, engine: Engine, tally: Tally, now: Callable[[], datetime]) -> None:
    def jobs() -> list[CustomObject]:
        cache = engine.watched.objects.get(TRAINING_JOBS)
        return cache.unsorted() if cache is not None else []

    def by(field: str, words: Iterable[str], otherwise: str) -> dict[str, float]:
        return _numbers(Counter(str(job.status.get(field) or otherwise) for job in jobs()), words)

    reasons = series.LABELS["reason"] or ()
    metrics.read(series.JOBS, lambda: by("phase", (phase.value for phase in Phase), Phase.PENDING.value))
    # Most reasons of a status are no wait at all.
    metrics.read(
        series.JOBS_WAITING,
        lambda: {word: number for word, number in by("reason", reasons, "").items() if word in reasons},
    )
    # A follower hears no reports, and status is up to a minute older.
    leads = engine.elector
    metrics.read(series.COMMIT_OLDEST, lambda: oldest_commit_s(jobs(), tally, now()) if leads.leading else 0.0)


def _numbers(counted: Counter[str], words: Iterable[str]) -> dict[str, float]:
    """Return the numbers with a 0 for each known word: an alert needs a series before the first case."""
    return {**dict.fromkeys(words, 0.0), **{word: float(number) for word, number in counted.items()}}
