"""The end of an attempt, and the end of the job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import Phase, WorkerCounts
from holdfast.planning.plan import PODS, Absent, Plan
from holdfast.training import expiry, progress, recovery, stopping
from holdfast.training.draft import Draft
from holdfast.training.endings import EXIT_PEER_LOST, Ending, of_pod
from holdfast.training.success import FinalCheckpoint
from holdfast.training.view import View

# Node monitor grace of Kubernetes (50 s since 1.32, 40 s before) and a little.
_NODE_LOSS_SHOWS: Final = timedelta(seconds=60)


def attempt_ended(view: View, end: Ending) -> Plan:
    """Write ahead what follows the end of the current attempt; the next pass stops its pods."""
    decision = recovery.after(view, end)
    if isinstance(decision, recovery.GiveUp) and _may_be_the_node(view, end, decision):
        return Plan(waiting=Reason.NODE_UNREACHABLE.value, requeue_after_s=1.0)
    draft = Draft(view)
    progress.keep(view, draft)
    draft.close_attempt(end.cause, end)
    absent = _unseen(view, end)
    if isinstance(decision, recovery.GiveUp):
        return replace(fail(draft, decision), absent=absent)
    draft.open_attempt(decision.attempt)
    draft.set(
        next_retry_at=decision.not_before.replace(microsecond=0) if decision.not_before else None,
        restarts=len(decision.restart_times),
        restart_times=tuple(time.replace(microsecond=0) for time in decision.restart_times),
    )
    draft.condition(ConditionType.RUNNING, False, end.cause, end.message)
    draft.phase(Phase.RESTARTING, end.cause, end.message)
    draft.event("Warning", end.cause.value, f"Attempt {view.attempt} ended, {decision.attempt} follows: {end.message}")
    return Plan(absent=absent, write_ahead=draft.write(), events=tuple(draft.events))


def _unseen(view: View, end: Ending) -> tuple[Absent, ...]:
    """Return the pod whose absence alone ends the attempt: a new leader's view of the pods may be an old one."""
    if end.unseen is None:
        return ()
    job = view.job.metadata
    return (Absent(PODS, job.namespace, end.unseen.pod_name(job.name, view.attempt), view.uid),)


def status_is_behind(view: View, newest: int) -> Plan:
    """Go on behind an attempt that status does not know: it was lost, or restored from an old copy.

    Where it is only the view that is old, the write fails on its resource version, and the next pass sees better.
    """
    message = f"Pods of attempt {newest} exist, which status does not know."
    return attempt_ended(view, Ending(Reason.SUPERSEDED, message, next_attempt=newest + 1))


def trainers_done(view: View, final: FinalCheckpoint) -> Plan:
    """Every trainer exited 0: the job has succeeded if what all of them hold is committed."""
    if not final.is_committed:
        who = f" Nothing is known of {', '.join(final.unknown)}." if final.unknown else ""
        message = (
            f"All trainers exited 0, but step {final.complete}, which every worker holds complete, is not committed "
            f"(newest commit: {final.committed}).{who}"
        )
        return attempt_ended(view, Ending(Reason.FINAL_CHECKPOINT_NOT_COMMITTED, message))
    draft = Draft(view)
    progress.keep(view, draft)
    draft.close_attempt(Reason.SUCCEEDED)
    told = f"Step {final.committed} is committed." if final.committed is not None else "There is no checkpoint."
    message = f"All {len(view.slots)} trainers exited 0. {told}"
    draft.condition(ConditionType.SUCCEEDED, True, Reason.SUCCEEDED, message)
    draft.condition(ConditionType.RUNNING, False, Reason.FINISHED, "The job has ended.")
    draft.phase(Phase.SUCCEEDED, Reason.SUCCEEDED, message)
    count = len(view.slots)
    draft.set(workers=WorkerCounts(desired=count, created=count, succeeded=count), next_retry_at=None)
    draft.event("Normal", Reason.SUCCEEDED.value, message)
    return Plan(status=draft.write(), events=tuple(draft.events))


def stop_the_rest(view: View) -> Plan:
    """Stop what still runs of a failed job; pods that have ended stay for their logs, as long as the object does."""
    running = [pod for pod in (*view.current.values(), *view.older) if not pod.ended]
    if not running:
        return expiry.expire(view, ConditionType.FAILED)
    since = expiry.ended_at(view, ConditionType.FAILED) or view.now
    stop = stopping.stop(view, running, since, broken=True)
    return Plan(actions=stop.actions, commands=stop.commands, requeue_after_s=stop.requeue_after_s)


def stop_the_late(view: View) -> Plan | None:
    """Stop pods of older attempts that a succeeded job got late: a create may arrive when its sender is long gone.

    Its own pods have ended, and stay for their logs. None where there are no others.
    """
    if not view.older:
        return None
    since = expiry.ended_at(view, ConditionType.SUCCEEDED) or view.now
    stop = stopping.stop(view, view.older, since, broken=True)
    return Plan(actions=stop.actions, commands=stop.commands, requeue_after_s=stop.requeue_after_s)


def _may_be_the_node(view: View, end: Ending, decision: recovery.GiveUp) -> bool:
    """Say whether the loss of a node may yet turn out to be behind the failure that would end the job for good.

    A survivor fails within a second of a node's loss; Kubernetes tells of the loss some 40 seconds later.
    """
    vague = end.cause in (Reason.WORKER_FAILED, Reason.UNKNOWN)
    if decision.reason is not Reason.MAX_RESTARTS_EXCEEDED or not vague or end.at is None:
        return False
    return view.now - end.at < _NODE_LOSS_SHOWS and not all(pod.ended for pod in view.current.values())


def revise_cause(view: View, draft: Draft) -> None:
    """Tell the cause of the attempt before more precisely, as long as its pods can still be seen.

    A survivor fails within a second, while the loss of the node that caused it shows after many.
    """
    rows = view.status.attempts or ()
    if len(rows) < 2:
        return
    row = rows[-2]
    precise = (Reason.NODE_LOST, Reason.PREEMPTED, Reason.EVICTED, Reason.OUT_OF_MEMORY)
    if row.cause not in (Reason.WORKER_FAILED.value, Reason.UNKNOWN.value):
        return
    if row.ended_at is None or view.now - row.ended_at > 2 * _NODE_LOSS_SHOWS:
        # A node that goes this much later has nothing to do with it.
        return
    pods = [pod for pod in view.older if pod.attempt == row.attempt]
    ends = [end for pod in pods if (end := of_pod(view, pod)) is not None]
    found = [end for end in ends if end.cause in precise]
    if not found and row.exit_code == EXIT_PEER_LOST:
        found = [end for end in ends if end.cause is Reason.WORKER_FAILED and not end.follows]
    if not found:
        return
    end = min(found, key=lambda item: item.rank)
    update = {"cause": end.cause.value, "message": end.message, "slot": end.slot or None, "exit_code": end.exit_code}
    draft.revise(-2, row.model_copy(update={**update, "nodes": (end.node,) if end.node else ()}))
    if not end.counted:
        times = recovery.uncounted(tuple(view.status.restart_times or ()))
        draft.set(restart_times=times, restarts=len(times), next_retry_at=None)


def fail(draft: Draft, decision: recovery.GiveUp) -> Plan:
    """End the job for good."""
    draft.condition(ConditionType.FAILED, True, decision.reason, decision.message)
    draft.condition(ConditionType.RUNNING, False, decision.reason, decision.message)
    draft.phase(Phase.FAILED, decision.reason, decision.message)
    draft.set(next_retry_at=None)
    draft.event("Warning", decision.reason.value, f"The job has failed: {decision.message}")
    return Plan(write_ahead=draft.write(), events=tuple(draft.events))
