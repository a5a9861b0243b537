"""`spec.suspend`: drain, delete, and hold; a resumed job goes on with a new attempt.

The row of the attempt is closed first, with the time at which the stop was decided: deadlines count from there.
"""

from __future__ import annotations

from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import AttemptRow, Phase, WorkerCounts
from holdfast.planning.plan import Plan
from holdfast.training import progress, stopping
from holdfast.training.draft import Draft
from holdfast.training.view import View


def last_row(view: View) -> AttemptRow | None:
    """Return the newest row of `status.attempts`."""
    rows = view.status.attempts or ()
    return rows[-1] if rows else None


def closed(view: View) -> bool:
    """Say whether the current attempt has ended and no other was opened: by a suspend, or by the deadline."""
    row = last_row(view)
    return row is not None and row.attempt == view.attempt and row.ended_at is not None


def suspend(view: View) -> Plan:
    """Return the next step towards a suspended job, or an empty plan when it is one."""
    row = last_row(view)
    draft = Draft(view)
    if row is not None and row.ended_at is None:
        return _decide(view, draft)
    pods = (*view.current.values(), *view.older)
    if not pods:
        return _suspended(view, draft)
    since = row.ended_at if row is not None and row.ended_at is not None else view.now
    # Pods of an older attempt are those of a gang that broke just before: they have no other checkpoint to make.
    stop = stopping.stop(view, pods, since, broken=bool(view.older))
    progress.keep_ahead(view, draft, stop.actions)
    return Plan(
        write_ahead=draft.write(),
        actions=stop.actions,
        commands=stop.commands,
        waiting=Reason.SUSPENDING.value,
        requeue_after_s=stop.requeue_after_s,
    )


def lift(view: View, draft: Draft) -> None:
    """Say of a job that was suspended that it is so no longer."""
    if any(c.type == ConditionType.SUSPENDED.value and c.status == "True" for c in view.status.conditions):
        draft.condition(ConditionType.SUSPENDED, False, Reason.NOT_SUSPENDED)


def _decide(view: View, draft: Draft) -> Plan:
    message = "The workers are asked for a checkpoint, then stopped."
    progress.keep(view, draft)
    draft.close_attempt(Reason.SUSPENDED, message="spec.suspend was set.")
    draft.condition(ConditionType.RUNNING, False, Reason.SUSPENDING, message)
    draft.phase(Phase.SUSPENDING, Reason.SUSPENDING, message)
    draft.set(next_retry_at=None)
    draft.event("Normal", Reason.SUSPENDING.value, message)
    return Plan(write_ahead=draft.write(), events=tuple(draft.events))


def _suspended(view: View, draft: Draft) -> Plan:
    message = "No pod is left. Set spec.suspend to false to go on from the newest commit."
    draft.condition(ConditionType.SUSPENDED, True, Reason.SUSPENDED, message)
    draft.condition(ConditionType.RUNNING, False, Reason.SUSPENDED, message)
    draft.phase(Phase.SUSPENDED, Reason.SUSPENDED, message)
    draft.set(workers=WorkerCounts(desired=len(view.slots)))
    if view.status.phase is not Phase.SUSPENDED:
        draft.event("Normal", Reason.SUSPENDED.value, message)
    return Plan(status=draft.write(), events=tuple(draft.events))
