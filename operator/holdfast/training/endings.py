"""Why an attempt ended, if it did: the worker that ended first, and the most telling cause that anybody saw.

A gang dies in a cascade: one worker is lost, and its peers fail seconds later because of it. Causes are therefore
ranked: what happened to the machine beats what the program did, and of equals the earliest wins. As long as pods of the
ended attempt exist, the cause may still be made more precise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from holdfast.api import labels as names
from holdfast.api.reasons import Reason
from holdfast.api.wire import (
    EXIT_NO_RESTORABLE,
    EXIT_PREFIX_TAKEN,
    EXIT_REFUSED,
    EXIT_SUPERSEDED,
    Outcome,
)
from holdfast.planning.observed import ContainerStatus, Pod, Terminated
from holdfast.planning.slots import Slot
from holdfast.training import nodes
from holdfast.training.view import View

_FAR: Final = datetime.max.replace(tzinfo=UTC)

# A trainer that ends because a peer is gone says so with this code (`holdfast.client.termination`; EX_TEMPFAIL of
# sysexits.h): of two workers that failed, it is never the one to name.
EXIT_PEER_LOST: Final = 75

# What ends the job for good, whatever else was seen; then what befell the machine; then what the program did.
_RANK: Final = {
    Reason.PREFIX_TAKEN: 0,
    Reason.NO_RESTORABLE_CHECKPOINT: 0,
    Reason.RESTORE_REFUSED: 0,
    Reason.SUPERSEDED: 1,
    Reason.FINAL_EXIT_CODE: 2,
    Reason.NODE_LOST: 3,
    Reason.PREEMPTED: 4,
    Reason.EVICTED: 5,
    Reason.OUT_OF_MEMORY: 6,
    Reason.POD_DELETED: 7,
    Reason.RESTORE_FAILED: 8,
    Reason.WORKER_FAILED: 9,
    Reason.FINAL_CHECKPOINT_NOT_COMMITTED: 10,
    Reason.STALLED: 11,
    Reason.UNKNOWN: 12,
    Reason.NODE_POOL_TAKEN: 13,
    Reason.PLACED_ANEW: 14,
}
# Everything that `status.attempts[].cause` can say: what a pod or the gang shows, and what the job itself asked for.
CAUSES: Final = (*_RANK, Reason.SUCCEEDED, Reason.SUSPENDED, Reason.DEADLINE_EXCEEDED)
_FINAL: Final = frozenset(
    {Reason.PREFIX_TAKEN, Reason.NO_RESTORABLE_CHECKPOINT, Reason.RESTORE_REFUSED, Reason.FINAL_EXIT_CODE}
)
_NOT_COUNTED: Final = frozenset(
    {
        Reason.NODE_LOST,
        Reason.PREEMPTED,
        Reason.EVICTED,
        Reason.SUPERSEDED,
        Reason.NODE_POOL_TAKEN,
        Reason.PLACED_ANEW,
    }
)

_RESTORE_ENDINGS: Final = {
    "Superseded": Reason.SUPERSEDED,
    "PrefixTaken": Reason.PREFIX_TAKEN,
    "NoRestorableCheckpoint": Reason.NO_RESTORABLE_CHECKPOINT,
    "RestoreRefused": Reason.RESTORE_REFUSED,
}
_RESTORE_EXITS: Final = {
    EXIT_SUPERSEDED: Reason.SUPERSEDED,
    EXIT_PREFIX_TAKEN: Reason.PREFIX_TAKEN,
    EXIT_NO_RESTORABLE: Reason.NO_RESTORABLE_CHECKPOINT,
    EXIT_REFUSED: Reason.RESTORE_REFUSED,
}
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "DeletionByTaintManager": Reason.EVICTED,
    "DeletionByPodGC": Reason.NODE_LOST,
    "TerminationByKubelet": Reason.PREEMPTED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended.

    `by_kubelet` marks an eviction by the kubelet: mostly a pod that used more than it asked for, which would go round
    without end if it did not count. `unseen` is the slot whose pod is not seen any more, where that is all there is to
    go by. `next_attempt` is set where the bucket knows of a newer attempt than status does.
    """

    cause: Reason
    message: str
    slot: str = ""
    node: str = ""
    exit_code: int | None = None
    at: datetime | None = None
    by_kubelet: bool = False
    unseen: Slot | None = None
    next_attempt: int | None = None

    @property
    def rank(self) -> tuple[int, bool, datetime]:
        """Order endings: the smallest is the one to tell."""
        return (_RANK[self.cause], self.follows, self.at or _FAR)

    @property
    def follows(self) -> bool:
        """Say whether the worker ended because another one had."""
        return self.cause is Reason.WORKER_FAILED and self.exit_code == EXIT_PEER_LOST

    @property
    def final(self) -> bool:
        """Say whether no restart can help."""
        return self.cause in _FINAL

    @property
    def counted(self) -> bool:
        """Say whether the restart counts against `maxRestarts`."""
        return self.by_kubelet or self.cause not in _NOT_COUNTED


def ending(view: View, pods: Iterable[Pod], *, all_created: bool) -> Ending | None:
    """Return why the attempt of these pods ended, or None while it goes on.

    `all_created` says that status has recorded all pods of the attempt: one that is missing has then vanished.
    """
    found = [end for pod in pods if (end := of_pod(view, pod)) is not None]
    if all_created:
        present = {pod.slot for pod in pods}
        found += [
            Ending(
                Reason.POD_DELETED, f"The pod of worker {slot.name} is gone and nobody saw why.", slot.name, unseen=slot
            )
            for slot in view.slots
            if slot.name not in present
        ]
    return min(found, key=lambda end: end.rank, default=None)


def of_pod(view: View, pod: Pod) -> Ending | None:
    """Return why this pod ended its attempt, or None."""
    if nodes.lost(view, pod):
        gone = pod.spec.node_name not in view.observed.nodes
        what = "was deleted" if gone else "has been out of reach for longer than recovery.nodeLostTimeout"
        return _end(pod, Reason.NODE_LOST, f"Node {pod.spec.node_name} of worker {pod.slot} {what}.")
    # The kubelet marks an eviction for pressure with DisruptionTarget too, as it marks the shutdown of a node.
    by_kubelet = pod.status.phase == "Failed" and pod.status.reason == "Evicted"
    found = None if by_kubelet else _disrupted(view, pod) or _restore_failed(pod) or _container_failed(view, pod)
    if found is not None:
        return found
    if pod.status.phase == "Failed":
        known = {"Evicted": Reason.EVICTED, "Preempting": Reason.PREEMPTED, "NodeShutdown": Reason.PREEMPTED}
        cause = known.get(pod.status.reason, Reason.UNKNOWN)
        told = pod.status.message or pod.status.reason or "no reason was given"
        found = _end(pod, cause, f"The pod of worker {pod.slot} failed: {told}")
        return replace(found, by_kubelet=pod.status.reason == "Evicted")
    if pod.deleting and (not pod.ended or stopped(pod)):
        return _end(pod, Reason.POD_DELETED, f"The pod of worker {pod.slot} was deleted by somebody else.")
    return None


def stopped(pod: Pod) -> bool:
    """Say whether the trainer ended because somebody deleted the pod: exit code 0 is then no success.

    `deletionTimestamp` is the moment of the request plus the grace period.
    """
    asked, grace = pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds
    if asked is None:
        return False
    ended = _terminated(pod.container(names.TRAINER))
    at = ended.finished_at if ended else None
    return at is None or at > asked - timedelta(seconds=grace or 0)


def _end(pod: Pod, cause: Reason, message: str, terminated: Terminated | None = None) -> Ending:
    at = terminated.finished_at if terminated else pod.metadata.deletion_timestamp
    code = terminated.exit_code if terminated else None
    return Ending(cause, message[:1000], pod.slot, pod.spec.node_name, code, at)


def _disrupted(view: View, pod: Pod) -> Ending | None:
    target = pod.condition("DisruptionTarget")
    if target is None or target.status != "True":
        return None
    cause = _DISRUPTIONS.get(target.reason, Reason.EVICTED)
    if target.reason == "DeletionByTaintManager" and nodes.unreachable_since(view, pod) is not None:
        cause = Reason.NODE_LOST
    return _end(pod, cause, f"Worker {pod.slot} on {pod.spec.node_name}: {target.message or target.reason}")


def _terminated(status: ContainerStatus | None) -> Terminated | None:
    return status.state.terminated if status else None


def _restore_failed(pod: Pod) -> Ending | None:
    ended = _terminated(pod.container(names.RESTORE_CONTAINER))
    if ended is None or ended.exit_code == 0:
        return None
    outcome = outcome_of(ended)
    if outcome is not None and outcome.kind in _RESTORE_ENDINGS:
        cause = _RESTORE_ENDINGS[outcome.kind]
        found = _end(pod, cause, outcome.message, ended)
        if cause is Reason.SUPERSEDED and outcome.seen_attempt is not None:
            return replace(found, next_attempt=outcome.seen_attempt + 1)
        return found
    cause = _RESTORE_EXITS.get(ended.exit_code, Reason.RESTORE_FAILED)
    if ended.reason == "OOMKilled":
        cause = Reason.OUT_OF_MEMORY
    told = outcome.message if outcome and outcome.message else ended.message or ended.reason
    return _end(pod, cause, f"The restore step of worker {pod.slot} ended with {ended.exit_code}: {told}", ended)


def _container_failed(view: View, pod: Pod) -> Ending | None:
    # A native sidecar of the template ends with whatever its SIGTERM handler says, and restarts in place before: only
    # in a failed pod did an init container matter.
    initial = pod.status.init_container_statuses if pod.status.phase == "Failed" else ()
    for status in (*pod.status.container_statuses, *initial):
        if status.name in (names.RESTORE_CONTAINER, names.SIDECAR_CONTAINER):
            continue
        ended = _terminated(status)
        if ended is None or ended.exit_code == 0:
            continue
        where = f"Container {status.name} of worker {pod.slot}"
        if ended.reason == "OOMKilled":
            return _end(
                pod,
                Reason.OUT_OF_MEMORY,
                f"{where} used more memory than its limit: raise resources.limits.memory.",
                ended,
            )
        if status.name == names.TRAINER and ended.exit_code in view.spec.recovery.final_exit_codes:
            return _end(
                pod,
                Reason.FINAL_EXIT_CODE,
                f"{where} ended with {ended.exit_code}, which recovery.finalExitCodes says no restart can mend.",
                ended,
            )
        return _end(pod, Reason.WORKER_FAILED, f"{where} ended with exit code {ended.exit_code}.", ended)
    return None


def outcome_of(ended: Terminated | None) -> Outcome | None:
    """Return the termination message of restore or sidecar, or None where it is missing or not ours."""
    if ended is None or not ended.message:
        return None
    with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
        return msgspec.json.decode(ended.message, type=Outcome)
    return None
