"""`spec.ttlAfterFinished`: the object of a job that has ended goes after a time; its bucket stays as it is.

The time counts from the transition of the condition Succeeded or Failed, so that every operator comes to the same
moment, whenever it was started.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from holdfast.api import durations
from holdfast.api.conditions import ConditionType
from holdfast.planning.plan import TRAINING_JOBS, Delete, Plan
from holdfast.training.view import View


def ended_at(view: View, kind: ConditionType) -> datetime | None:
    """Return when the condition that says so became true; whether it is true is the caller's to know."""
    found = (c for c in view.status.conditions if c.type == kind.value)
    return next((condition.last_transition_time for condition in found), None)


def expire(view: View, kind: ConditionType) -> Plan:
    """Return the plan of a job that has ended and of which nothing runs: wait for its time, then delete it.

    It is deleted as it was seen: a change of the spec or of the metadata that is on its way comes first.
    """
    since, ttl = ended_at(view, kind), view.spec.ttl_after_finished
    if since is None or ttl is None:
        return Plan()
    left = since + timedelta(seconds=durations.seconds(ttl)) - view.now
    if left > timedelta(0):
        return Plan(requeue_after_s=left.total_seconds())
    meta = view.job.metadata
    go = Delete(TRAINING_JOBS, meta.namespace, meta.name, meta.uid, resource_version=meta.resource_version)
    return Plan(actions=(go,))
