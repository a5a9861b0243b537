"""What the reports of the pods say about progress, commits, the bucket and the trainer's checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from holdfast.api import labels as names
from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import MAX_CHECKPOINTS, CheckpointStatus, CommittedCheckpoint, Progress
from holdfast.api.wire import Commit, Damage, Outcome, Report
from holdfast.training.draft import Draft
from holdfast.training.endings import outcome_of
from holdfast.training.view import View

# Progress in status is for people who look now and then; finer data is in the metrics and the reports.
REFRESH_S: Final = 60.0
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
    restored_step = next((step for step in restored if step is not None), None)
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
    steps = [report.progress for report in reports if report.progress.step is not None]
    if not steps:
        return None
    best = max(steps, key=lambda progress: progress.step or 0)
    return Progress(
        step=best.step, total=best.total, loss=_decimal(best.loss), steps_per_second=_decimal(best.steps_per_second)
    )


def _decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


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

    Bad news is written at once; good news only together with something else (`settled`), or to take bad news back.
    """
    reports = current_reports(view)
    if view.spec.checkpoint is None or not reports:
        return
    bad = next((report.store for report in reports if not report.store.ready), None)
    kind = ConditionType.CHECKPOINT_STORE_READY
    if bad is not None:
        draft.condition(kind, False, store_reason(bad.reason), bad.message)
    elif settled or _is_false(view, kind):
        grows = next((r.store.message for r in reports if r.store.reason == Reason.RETENTION_FAILED.value), "")
        fine = f"{view.spec.checkpoint.destination} can be read and written."
        draft.condition(kind, True, Reason.RETENTION_FAILED if grows else Reason.READY, grows or fine)
    sick = next((report.health for report in reports if not report.health.healthy), None)
    kind = ConditionType.CHECKPOINT_HEALTHY
    if sick is not None:
        draft.condition(
            kind, False, known_reason(sick.reason, _HEALTH_REASONS, Reason.INCOMPLETE_CHECKPOINT), sick.message
        )
    elif settled or _is_false(view, kind):
        draft.condition(kind, True, Reason.HEALTHY)


def _is_false(view: View, kind: ConditionType) -> bool:
    return any(c.type == kind.value and c.status == "False" for c in view.status.conditions)
