"""The planner of a TrainingJob: one job, what is observed and the time, turned into what is to be done.

Read `plan` as the story of a job. Every branch may run again at any time, after any crash, and must lead to the same
end. The number of an attempt is written to status before its first pod exists (`write_ahead`; `first` says why not that
of the first one); everything else is written at the end of a pass, and only if it changed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from holdfast.api.conditions import ConditionType
from holdfast.planning.observed import Observed
from holdfast.planning.plan import Plan
from holdfast.training import (
    acceptance,
    attempt,
    deadline,
    deletion,
    ended,
    expiry,
    first,
    placement,
    stall,
    stopping,
    suspension,
)
from holdfast.training.draft import Draft
from holdfast.training.endings import ending
from holdfast.training.success import final_checkpoint, trainers_succeeded
from holdfast.training.view import View, look


def plan(observed: Observed, now: datetime) -> Plan:
    """Return what is to be done for one TrainingJob now."""
    job = observed.object
    if job is None or (job.metadata.deletion_timestamp is not None and not deletion.guarded(job)):
        return _bereft(observed)
    try:
        view = look(observed, job, now)
    except ValueError as error:
        return deletion.release(job) if deletion.guarded(job) else acceptance.unreadable(job, error)
    if first.begun(view):
        view = first.assume(view)
    if deletion.guarded(job):
        return deletion.stop(view)
    if _is(view, ConditionType.SUCCEEDED):
        return ended.stop_the_late(view) or expiry.expire(view, ConditionType.SUCCEEDED)
    if _is(view, ConditionType.FAILED):
        return ended.stop_the_rest(view)
    if view.current and not suspension.closed(view) and trainers_succeeded(view):
        return ended.trainers_done(view, final_checkpoint(view))
    return _go_on(view)


def _go_on(view: View) -> Plan:
    """The job has not ended: stop it where it is to be stopped, else bring it to life and keep it there."""
    if deadline.decided(view):
        return deadline.enforce(view) or Plan()
    if view.spec.suspend:
        return suspension.suspend(view)
    if attempt.newest_pod(view) > view.attempt:
        return ended.status_is_behind(view, attempt.newest_pod(view))
    if suspension.closed(view) or view.attempt == 0:
        # Pods that are left may hold what the new ones would be refused for: they go first, with the next attempt.
        left = view.current or view.older
        begin = deadline.enforce(view) or (None if left else acceptance.refused(view)) or deletion.guard(view)
        if begin is not None or not view.untold:
            return begin or attempt.begin(view)
        view = first.assume(view)
    end = ending(view, view.current.values(), all_created=attempt.was_created(view))
    if end is not None:
        return ended.attempt_ended(view, end)
    if (over := deadline.enforce(view)) is not None:
        return over
    if (moved := placement.moved(view)) is not None:
        return replace(ended.attempt_ended(view, moved), claims=placement.choose(view).claims)
    if (stalled := stall.ending(view)) is not None:
        return ended.attempt_ended(view, stalled)
    return deadline.watched(view, stall.watched(view, _run(view)))


def _run(view: View) -> Plan:
    """Bring the current attempt to life and keep it there."""
    draft = Draft(view)
    cleared = attempt.clear_the_way(view, draft)
    if cleared is not None:
        return cleared
    return attempt.keep(view, draft)


def _bereft(observed: Observed) -> Plan:
    """The job is gone: its pods are garbage collected; let go at once of those that have nothing left to upload."""
    actions = tuple(action for pod in observed.pods for action in stopping.shorten(observed, pod))
    return Plan(actions=actions)


def _is(view: View, kind: ConditionType) -> bool:
    return any(c.type == kind.value and c.status == "True" for c in view.status.conditions)
