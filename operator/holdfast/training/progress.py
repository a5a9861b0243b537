"""What the reports of the pods say about progress, commits, the bucket and the trainer's checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from holdfast.api import labels as names
from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.scalars import INT53_MAX
from holdfast.api.status import MAX_CHECKPOINTS, CheckpointStatus, CommittedCheckpoint, Progress
from holdfast.api.wire import Commit, Damage, Outcome, Report
from holdfast.planning.plan import Action, Delete
from holdfast.training.draft import Draft
from holdfast.training.endings import outcome_of
from holdfast.training.view import View

# Progress in status is for people who look now and then; the trainers' own logs are finer.
REFRESH_S: Final = 60.0
# Trouble that comes and goes is written at most this often.
_TROUBLE_S: Final = 10.0
_AT_ONCE: Final = frozenset({Reason.BUCKET_NOT_FOUND, Reason.ACCESS_DENIED, Reason.INCOMPLETE_CHECKPOINT})
# Reports are a tenant's word: a reason that is none of these becomes the general one.
_STORE_REASONS: Final = frozenset({Reason.BUCKET_NOT_FOUND, Reason.ACCESS_DENIED, Reason.STORE_REFUSED})
_HEALTH_REASONS: Final = frozenset(
    {Reason.CHECKPOINT_CHANGES, Reason.UNSUPPORTED_FILE, Reason.VOLUME_UNUSABLE, Reason.COMMIT_BLOCKED}
)


@dataclass(frozen=True, slots=True)
class Told:
    """The reports of the current attempt's pods, joined."""

    progress: Progress | None
    checkpoint: CheckpointStatus | None
    restored: bool
    damages: tuple[Damage, ...]


def current_reports(view: View) -> tuple[Report, ...]:
    """Return the newest reports of the current attempt's pods, by slot."""
    pods = sorted(view.current.values(), key=lambda pod: pod.slot)
    return tuple(report for pod in pods if (report := view.report(pod)) is not None)


def told(view: View) -> Told:
    """Join the reports with what status already holds."""
    reports = current_reports(view)
    outcomes = _outcomes(view)
    before = view.status.checkpoint or CheckpointStatus()
    known = {(item.run, item.step): item for item in before.commits}
    told_last = [outcome.newest for outcome in outcomes if outcome.newest is not None]
    for commit in (*told_last, *(commit for report in reports for commit in report.commits)):
        if (committed := _committed(commit)) is not None:
            known[(commit.run, commit.step)] = committed
    # Retention has deleted the others, or will with the next commit: what is listed can be restored.
    kept = min(MAX_CHECKPOINTS, view.spec.checkpoint.retention.keep_last) if view.spec.checkpoint else 0
    newest = [known[key] for key in sorted(known, reverse=True)][:kept]
    restored = [report.restored_step for report in reports if report.role == "Sidecar"]
    restored += [outcome.step for outcome in outcomes]
    # Where nobody tells, what is written stands: a leader whose view is old must not take it back.
    told = [_step(step) for step in restored] or [before.restored_step]
    restored_step = next((step for step in told if step is not None), None)
    checkpoint = None
    if newest or restored_step is not None:
        latest = newest[0] if newest else None
        checkpoint = CheckpointStatus(latest=latest, restored_step=restored_step, commits=newest)
    damages = {damage.object: damage for outcome in outcomes for damage in outcome.damages}
    damages |= {damage.object: damage for report in reports for damage in report.damages}
    return Told(_progress(reports) or view.status.progress, checkpoint, bool(restored), tuple(damages.values()))


def _outcomes(view: View) -> tuple[Outcome, ...]:
    """Return the last words of restore and sidecar, which the API server keeps when nobody has heard the reports."""
    pods = sorted(view.current.values(), key=lambda pod: pod.slot)
    found = (pod.container(name) for pod in pods for name in (names.RESTORE_CONTAINER, names.SIDECAR_CONTAINER))
    words = (outcome_of(status.state.terminated) for status in found if status is not None)
    return tuple(word for word in words if word is not None)


def _committed(commit: Commit) -> CommittedCheckpoint | None:
    """Return a reported commit as status has it, or None where it cannot be one."""
    try:
        return CommittedCheckpoint(
            step=commit.step,
            run=commit.run,
            committed_at=datetime.fromisoformat(commit.committed_at).astimezone(UTC),
            bytes=commit.bytes,
            manifest=commit.object,
        )
    except ValueError:
        return None


def known_reason(text: str, known: frozenset[Reason], general: Reason) -> Reason:
    """Return the reason that a report names if it is one of `known`, else the general one."""
    return next((reason for reason in known if reason.value == text), general)


def store_reason(text: str) -> Reason:
    """Return the reason why the bucket cannot be used, as a report names it."""
    return known_reason(text, _STORE_REASONS, Reason.STORE_UNAVAILABLE)


def _progress(reports: Iterable[Report]) -> Progress | None:
    steps = [report.progress for report in reports if _step(report.progress.step) is not None]
    if not steps:
        return None
    best = max(steps, key=lambda progress: progress.step or 0)
    return Progress(
        step=_step(best.step),
        total=_step(best.total),
        loss=_decimal(best.loss),
        steps_per_second=_decimal(best.steps_per_second),
    )


def _step(value: int | None) -> int | None:
    """Return a number of steps, or None for what cannot be one: -1 is a usual word for "without end"."""
    return value if value is not None and 0 <= value <= INT53_MAX else None


def _decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def keep(view: View, draft: Draft) -> None:
    """Take over progress and commits from the reports, before those who sent them are gone."""
    found = told(view)
    if found.checkpoint is not None:
        draft.set(checkpoint=found.checkpoint)
    if found.progress is not None:
        draft.set(progress=found.progress)


def keep_ahead(view: View, draft: Draft, actions: Iterable[Action]) -> None:
    """Take over in a stop what is worth a write: commits that would go with the pods, and all of it once a minute.

    A drain of hundreds of workers brings thousands of reports; what pods that stay have told is there for later passes.
    """
    going = any(isinstance(action, Delete) for action in actions) or any(pod.deleting for pod in view.current.values())
    found = told(view).checkpoint
    news = found is not None and found != view.status.checkpoint
    if (going and news) or due_in(view) <= 0:
        keep(view, draft)


def due_in(view: View) -> float:
    """Return the seconds until progress may be written again; the UID spreads jobs over ten seconds."""
    since = view.observed.refreshed_at
    if since is None:
        return REFRESH_S
    jitter = int(view.uid[:4].strip("-") or "0", 16) % 10 if _is_hex(view.uid[:4]) else 0
    return REFRESH_S + jitter - (view.now - since).total_seconds()


def _is_hex(text: str) -> bool:
    return bool(text) and all(letter in "0123456789abcdef" for letter in text)


def bucket_and_health(view: View, draft: Draft, *, settled: bool) -> None:
    """Set the conditions about the bucket and the trainer's checkpoints.

    A missing bucket or permission is told at once. What may come and go is told, and good news are, together with
    something else (`settled`), or at most every 10 seconds; a message stands as long as its reason does.
    """
    reports = current_reports(view)
    checkpoint = view.spec.checkpoint
    if checkpoint is None or not reports:
        return
    since = view.observed.refreshed_at
    now_and_then = settled or (since is not None and (view.now - since).total_seconds() >= _TROUBLE_S)
    bad = next((report.store for report in reports if not report.store.ready), None)
    grows = next((r.store.message for r in reports if r.store.reason == Reason.RETENTION_FAILED.value), "")
    fine = f"{checkpoint.destination} can be read and written."
    if bad is not None:
        store = _News(False, store_reason(bad.reason), bad.message)
    else:
        store = _News(True, Reason.RETENTION_FAILED if grows else Reason.READY, grows or fine)
    _tell(view, draft, ConditionType.CHECKPOINT_STORE_READY, store, now_and_then=now_and_then, settled=settled)
    sick = next((report.health for report in reports if not report.health.healthy), None)
    if sick is not None:
        health = _News(False, known_reason(sick.reason, _HEALTH_REASONS, Reason.INCOMPLETE_CHECKPOINT), sick.message)
    else:
        health = _News(True, Reason.HEALTHY, "")
    _tell(view, draft, ConditionType.CHECKPOINT_HEALTHY, health, now_and_then=now_and_then, settled=settled)


@dataclass(frozen=True, slots=True)
class _News:
    """What a condition would say now."""

    good: bool
    reason: Reason
    message: str


def _tell(view: View, draft: Draft, kind: ConditionType, news: _News, *, now_and_then: bool, settled: bool) -> None:
    before = next((c for c in view.status.conditions if c.type == kind.value), None)
    if before is not None and before.reason == news.reason.value and before.status == str(news.good):
        return
    first_good = before is None and news.good
    if news.reason in _AT_ONCE or (settled if first_good else now_and_then):
        draft.condition(kind, news.good, news.reason, news.message)
