"""The deletion of a job whose pods hold checkpoints: a stop of ours first, then the object goes.

Without it the garbage collector would delete the pods with their whole grace period, and a kubelet that has begun to
stop a container heeds no shorter one (kubelet 1.36, `SyncTerminatingPod`): a trainer that ignores SIGTERM keeps its
machine for `checkpoint.flushTimeout`. So such jobs carry a finalizer. It never blocks for ever: pods on machines that
are lost are given up as in every other stop.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from holdfast.api import labels as names
from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import Phase
from holdfast.planning.observed import CustomObject
from holdfast.planning.plan import TRAINING_JOBS, Patch, Plan
from holdfast.training import stopping
from holdfast.training.draft import Draft
from holdfast.training.view import View

_WORTH_TELLING: Final = timedelta(seconds=10)


def guard(view: View) -> Plan | None:
    """Put the finalizer on a job that is about to get pods with checkpoints; None where nothing is to be done."""
    meta = view.job.metadata
    if view.spec.checkpoint is None or names.FINALIZER in meta.finalizers:
        return None
    return Plan(actions=(_finalizers(view.job, (*meta.finalizers, names.FINALIZER)),))


def guarded(job: CustomObject) -> bool:
    """Say whether the job is being deleted and waits for us."""
    return job.metadata.deletion_timestamp is not None and names.FINALIZER in job.metadata.finalizers


def stop(view: View) -> Plan:
    """Stop the pods of a job that is being deleted, then let the object go."""
    since = view.job.metadata.deletion_timestamp or view.now
    # Pods that have ended hold nothing back: the garbage collector takes them.
    left = [pod for pod in (*view.current.values(), *view.older) if not pod.ended]
    if not left:
        return release(view.job)
    doing = stopping.stop(view, left, since, broken=True)
    where = f", {', '.join(doing.unreachable)} of which cannot be reached" if doing.unreachable else ""
    message = f"{len(left)} pods are being drained and stopped{where}; then the object goes."
    draft = Draft(view)
    if view.now - since >= _WORTH_TELLING and view.status.reason != Reason.DELETING.value:
        draft.condition(ConditionType.RUNNING, False, Reason.DELETING, message)
        draft.phase(Phase.STOPPING, Reason.DELETING, message)
    return Plan(
        actions=doing.actions,
        commands=doing.commands,
        status=draft.write(),
        waiting=Reason.DELETING.value,
        requeue_after_s=min(doing.requeue_after_s or _WORTH_TELLING.total_seconds(), _WORTH_TELLING.total_seconds()),
    )


def release(job: CustomObject) -> Plan:
    """Take the finalizer off."""
    rest = tuple(item for item in job.metadata.finalizers if item != names.FINALIZER)
    return Plan(actions=(_finalizers(job, rest),))


def _finalizers(job: CustomObject, wanted: tuple[str, ...]) -> Patch:
    """Return the patch of the whole list; the resource version keeps what others put there meanwhile."""
    meta = job.metadata
    body = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": list(wanted)}}
    return Patch(TRAINING_JOBS, meta.namespace, meta.name, body)
