"""Stops pods without losing what is complete: drain, wait for the sidecar's word, delete, and give up only the dead.

A stop of ours is: command the drain, wait for each reachable sidecar's acknowledgement or the deadline, then delete
all of them with 30 s. A deletion by somebody else keeps the pod's whole grace period; once its sidecar reports that it
has flushed, the grace is shortened by a second delete. A pod is deleted by force only where its node is gone, declared
dead, or has been out of reach for `recovery.nodeLostTimeout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from holdfast.api import labels as names
from holdfast.api.wire import Command, Report
from holdfast.planning.observed import Observed, Pod
from holdfast.planning.plan import PODS, Action, Delete
from holdfast.training import nodes
from holdfast.training.view import View

GRACE_S: Final = 30
# What a flushed pod still gets when somebody else deleted it: there is nothing left to upload.
FLUSHED_GRACE_S: Final = 10
# How long an unreachable sidecar counts as reachable: two heartbeats and a little.
SILENCE: Final = timedelta(seconds=70)
# A sidecar finds a new leader with its next heartbeat at the latest.
_FIRST_REPORTS: Final = timedelta(seconds=35)
# A gang that is broken cannot make another checkpoint: its drain only flushes what is complete.
_BROKEN_DRAIN: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Stop:
    """The actions and commands of one pass, and when to look again. `left` pods still exist."""

    actions: tuple[Action, ...] = ()
    commands: Mapping[str, tuple[Command, ...]] = field(default_factory=dict)
    requeue_after_s: float | None = None
    left: int = 0
    unreachable: tuple[str, ...] = ()


def stop(view: View, pods: Iterable[Pod], since: datetime, *, broken: bool) -> Stop:
    """Stop these pods, a stop that was decided at `since`. `broken` says that the gang cannot checkpoint any more."""
    actions: list[Action] = []
    commands: dict[str, tuple[Command, ...]] = {}
    looks: list[float] = []
    unreachable: list[str] = []
    drained: list[Pod] = []
    left = 0
    for pod in pods:
        left += 1
        if nodes.abandoned(view, pod):
            actions.append(delete(pod, 0))
            continue
        wait = nodes.given_up_in(view, pod)
        if wait is not None:
            unreachable.append(pod.spec.node_name)
            looks.append(wait.total_seconds())
        if pod.ended or wait is not None or not _drainable(pod):
            if not pod.deleting:
                actions.append(delete(pod, GRACE_S))
            elif not pod.ended:
                actions += shorten(view.observed, pod)
            continue
        if pod.deleting:
            actions += shorten(view.observed, pod)
            continue
        order, again = _drain(view, pod, since, broken=broken)
        if order is None:
            drained.append(pod)
        else:
            commands[pod.metadata.uid] = (order,)
            looks.append(again)
    if not commands:
        # Together: the first worker that goes breaks the gang, and with it the checkpoint that a peer still writes.
        actions += [delete(pod, GRACE_S) for pod in drained]
    after = max(0.2, min(looks)) if looks else None
    return Stop(tuple(actions), commands, after, left, tuple(sorted(set(unreachable))))


def delete(pod: Pod, grace_s: int | None) -> Delete:
    """Return the deletion of exactly this pod."""
    meta = pod.metadata
    return Delete(PODS, meta.namespace, meta.name, meta.uid, grace_s)


def shorten(observed: Observed, pod: Pod) -> tuple[Action, ...]:
    """Return the second delete for a pod that is being deleted and has nothing left to upload, once.

    Where the trainer has not begun there is nothing either; a restore step that was told to end before it could listen
    would sit out the whole grace period.
    """
    grace = pod.metadata.deletion_grace_period_seconds
    if not pod.deleting or grace is None or grace <= FLUSHED_GRACE_S:
        return ()
    received = observed.reports.get(pod.metadata.uid)
    done = _not_begun(pod) or (received is not None and _flushed(received.report))
    return (delete(pod, FLUSHED_GRACE_S),) if done else ()


def _not_begun(pod: Pod) -> bool:
    """Say whether the kubelet reports that restore was started and the trainer was not."""
    trainer = pod.container(names.TRAINER)
    return bool(pod.container(names.RESTORE_CONTAINER) and trainer and trainer.state.waiting)


def _flushed(report: Report) -> bool:
    return report.role == "Sidecar" and report.phase in ("Flushed", "Finished")


def _drainable(pod: Pod) -> bool:
    """Say whether the pod has a sidecar to be drained: one that runs, or one that died beside a trainer which goes on.

    The kubelet starts the latter again on the same volume; silence bounds the wait for one that never comes.
    """
    sidecar = pod.container(names.SIDECAR_CONTAINER)
    trainer = pod.container(names.TRAINER)
    if sidecar is None or trainer is None:
        return False
    return bool(trainer.state.running or (trainer.state.terminated and sidecar.state.running))


def _had_time(view: View) -> bool:
    """Say whether this leader has led for long enough that every sidecar in reach has found it."""
    since = view.observed.leading_since
    return since is None or view.now - since >= _FIRST_REPORTS


def _drain(view: View, pod: Pod, since: datetime, *, broken: bool) -> tuple[Command | None, float]:
    """Return the drain command and when to look again, or None when the pod may be deleted."""
    received = view.observed.reports.get(pod.metadata.uid)
    flush_ends = since + timedelta(seconds=view.flush_timeout_s)
    if view.now >= flush_ends or (received is None and _had_time(view)):
        return None, 0.0
    if received is not None and view.now - received.at > SILENCE:
        return None, 0.0
    deadline = min(flush_ends, since + _BROKEN_DRAIN) if broken else flush_ends
    order = Command(
        id=f"drain-{pod.attempt}-{int(since.timestamp())}",
        kind="Drain",
        deadline=deadline.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    if received is None:
        return order, 1.0
    report = received.report
    if order.id in report.acknowledged:
        return None, 0.0
    busy = report.pending_bytes > 0 or report.phase == "Flushing"
    if view.now >= deadline and not busy:
        return None, 0.0
    next_look = deadline if view.now < deadline else flush_ends
    return order, (next_look - view.now).total_seconds()
