"""`spec.activeDeadline`: a job that was active for that long is drained, stopped, and fails.

The job is active from the moment an attempt is written ahead (the first one: from its first pod on) until that attempt
ends: waits for capacity, back-offs and restarts count, since the next attempt begins with the end of the one before.
Between a suspend and the attempt that resumes the job, and before the first attempt, there is none, and nothing counts.
The sum over ended attempts is in `status.activeSeconds`, written together with the end itself, so that it costs no
write and survives the operator.

That the deadline has passed is written down first, as the cause of the attempt; from then on nothing takes it back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from holdfast.api import durations
from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import Phase, WorkerCounts
from holdfast.planning.plan import Plan
from holdfast.training import ended, progress, stopping, suspension
from holdfast.training.draft import Draft
from holdfast.training.recovery import GiveUp
from holdfast.training.view import View


def active(view: View) -> timedelta:
    """Return for how long the job has been active."""
    total = timedelta(seconds=view.status.active_seconds or 0)
    row = suspension.last_row(view)
    if row is not None and row.ended_at is None:
        total += max(timedelta(0), view.now - row.started_at)
    return total


def left(view: View) -> timedelta | None:
    """Return how long the job may still be active (zero or less: it is over); None where there is no deadline."""
    limit = view.spec.active_deadline
    return None if limit is None else timedelta(seconds=durations.seconds(limit)) - active(view)


def decided(view: View) -> bool:
    """Say whether it is written down that the deadline has passed."""
    row = suspension.last_row(view)
    return suspension.closed(view) and row is not None and row.cause == Reason.DEADLINE_EXCEEDED.value


def enforce(view: View) -> Plan | None:
    """Return the next step of a job whose deadline has passed, None for any other."""
    rest = left(view)
    if not decided(view) and (rest is None or rest > timedelta(0)):
        return None
    row = suspension.last_row(view)
    if row is not None and row.ended_at is None:
        return _decide(view)
    pods = [pod for pod in (*view.current.values(), *view.older) if not pod.ended]
    if not pods:
        return _failed(view)
    since = row.ended_at if row is not None and row.ended_at is not None else view.now
    # Pods of an older attempt are those of a gang that broke just before: they have no other checkpoint to make.
    stop = stopping.stop(view, pods, since, broken=bool(view.older))
    draft = Draft(view)
    progress.keep_ahead(view, draft, stop.actions)
    return Plan(
        write_ahead=draft.write(),
        actions=stop.actions,
        commands=stop.commands,
        waiting=Reason.DEADLINE_EXCEEDED.value,
        requeue_after_s=stop.requeue_after_s,
    )


def watched(view: View, plan: Plan) -> Plan:
    """Return the plan of an active job with a look at the moment of its deadline."""
    rest = left(view)
    if rest is None:
        return plan
    looks = [rest.total_seconds()] + ([] if plan.requeue_after_s is None else [plan.requeue_after_s])
    return replace(plan, requeue_after_s=max(0.1, min(looks)))


def _decide(view: View) -> Plan:
    message = (
        f"spec.activeDeadline of {view.spec.active_deadline} has passed: the workers are asked for a last checkpoint, "
        "then stopped."
    )
    draft = Draft(view)
    progress.keep(view, draft)
    draft.close_attempt(Reason.DEADLINE_EXCEEDED, message=f"spec.activeDeadline is {view.spec.active_deadline}.")
    draft.condition(ConditionType.RUNNING, False, Reason.DEADLINE_EXCEEDED, message)
    draft.phase(Phase.STOPPING, Reason.DEADLINE_EXCEEDED, message)
    draft.set(next_retry_at=None)
    return Plan(write_ahead=draft.write())


def _failed(view: View) -> Plan:
    draft = Draft(view)
    progress.keep(view, draft)
    suspension.lift(view, draft)
    draft.set(workers=WorkerCounts(desired=len(view.slots)))
    checkpoint = view.status.checkpoint
    newest = checkpoint.latest if checkpoint else None
    kept = f"Step {newest.step} is committed." if newest else "There is no commit."
    limit = f", and spec.activeDeadline is {view.spec.active_deadline}" if view.spec.active_deadline else ""
    spent = durations.text(active(view).total_seconds())
    message = (
        f"The job was active for {spent}{limit}. {kept} To go on, create it again with the same name and destination "
        "and a longer deadline."
    )
    return ended.fail(draft, GiveUp(Reason.DEADLINE_EXCEEDED, message))
