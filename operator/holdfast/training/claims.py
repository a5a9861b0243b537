"""The claims under a job's checkpoints: which are missing, whether a shared one will do, and what is wrong with them.

A claim of a slot outlives attempts and goes with the job. A claim that is shared is the user's: it is read by name when
the job starts and while pods wait for it, and never written.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from holdfast.api.reasons import Reason
from holdfast.planning.observed import Claim, Pod, ReadClaim
from holdfast.planning.plan import CLAIMS, Action, Create, Read
from holdfast.training import pods, volumes
from holdfast.training.view import View
from holdfast.training.wait import Wait

# What was wrong with a shared claim may have been mended since.
READ_AGAIN: Final = timedelta(seconds=30)
_MANY: Final = "ReadWriteMany"
_WRITABLE: Final = ("ReadWriteOnce", "ReadWriteOncePod", _MANY)
# How the scheduler says that a volume is elsewhere (Kubernetes 1.29 and 1.36).
_ELSEWHERE: Final = ("volume node affinity conflict", "persistentvolume's node affinity")
_ANEW: Final = "Its worker then begins with an empty volume and fetches its part of the newest commit."


def missing(view: View) -> tuple[Action, ...]:
    """Return the creation of the claims that slots of the current attempt lack."""
    wanted = volumes.template(view)
    if wanted is None:
        return ()
    there = {claim.slot for claim in _own(view)}
    owner = pods.owner(view)
    return tuple(
        Create(CLAIMS, volumes.claim(view, slot, wanted, owner)) for slot in view.slots if slot.name not in there
    )


def blocked(view: View) -> Wait | None:
    """Return what must be gone before pods are created, or None."""
    if volumes.template(view) is None:
        return None
    foreign = [claim for claim in view.observed.claims if claim.metadata.controller_uid != view.uid]
    if foreign:
        name = foreign[0].metadata.name
        left = "" if foreign[0].metadata.controller_uid else f" Nobody owns {name}, so delete it yourself."
        why = f"Claims of a former job of this name, such as {name}, are not gone yet.{left}"
        return Wait(Reason.PREVIOUS_JOB_TERMINATING, why)
    leaving = [claim for claim in _own(view) if claim.deleting and claim.slot not in view.current]
    if not leaving:
        return None
    return Wait(
        Reason.CLAIM_TERMINATING,
        f"Claim {leaving[0].metadata.name} is being deleted; a new one is made once it is gone. {_ANEW}",
    )


def reading(view: View) -> Read | None:
    """Return the question about the shared claim where it is to be asked, now or anew; None where it is answered."""
    name = _shared(view)
    if not name:
        return None
    answer = _answer(view)
    if answer is not None and view.now - answer.at < READ_AGAIN:
        return None
    return Read(CLAIMS, view.job.metadata.namespace, name)


def refused(view: View) -> Wait | None:
    """Return why the job cannot start on the shared claim as it was read last, or None."""
    answer = _answer(view)
    if answer is None:
        return None
    gone = _gone(view, answer)
    if gone is not None:
        return gone
    claim = answer.claim
    assert claim is not None
    modes = claim.spec.access_modes
    told = ", ".join(modes) or "none"
    if claim.spec.volume_mode != "Filesystem":
        why = f"its volumeMode is {claim.spec.volume_mode}: checkpoints are files"
    elif not set(modes) & set(_WRITABLE):
        why = f"nothing can be written to it (its access modes: {told})"
    elif len(view.slots) > 1 and _MANY not in modes:
        why = (
            f"{len(view.slots)} workers on several nodes share it and it is not {_MANY} (its access modes: {told}): "
            "choose a storage class whose volumes many nodes can mount, such as one of a file server"
        )
    else:
        return None
    return Wait(
        Reason.CLAIM_UNSUITABLE,
        f"Claim {answer.name} will not do: {why}. Name another claim in a new TrainingJob, or make this one anew.",
    )


def of_pod(view: View, pod: Pod) -> Wait | None:
    """Return what is wrong with the claim of a pod that has no node yet, or None."""
    if pod.spec.node_name:
        return None
    answer = _answer(view)
    if answer is not None and (gone := _gone(view, answer)) is not None:
        return gone
    claim = answer.claim if answer is not None else _of_slot(view, pod.slot)
    if claim is None:
        return None
    scheduled = pod.condition("PodScheduled")
    told = scheduled.message if scheduled is not None and scheduled.status == "False" else ""
    if claim.status.phase == "Lost":
        return _lost(claim)
    if claim.status.phase == "Pending":
        return _pending(view, claim, told)
    if any(words in told.lower() for words in _ELSEWHERE):
        return _elsewhere(view, pod, claim, told)
    return None


def attaching(view: View, pod: Pod) -> str:
    """Return what to add where a pod on a node does not start: its volume may be what it waits for."""
    name = _shared(view) or next((c.metadata.name for c in _own(view) if c.slot == pod.slot), "")
    if not name or not pod.spec.node_name:
        return ""
    return f" Its volume (claim {name}) may still be on its way to {pod.spec.node_name}: see the pod's events."


def _shared(view: View) -> str:
    checkpoint = view.spec.checkpoint
    shared = checkpoint.volume.shared_claim if checkpoint is not None else None
    return shared.claim_name if shared is not None else ""


def _answer(view: View) -> ReadClaim | None:
    answer = view.observed.read_claim
    return answer if answer is not None and answer.name == _shared(view) else None


def _own(view: View) -> list[Claim]:
    return [claim for claim in view.observed.claims if claim.metadata.controller_uid == view.uid]


def _of_slot(view: View, slot: str) -> Claim | None:
    return next((claim for claim in _own(view) if claim.slot == slot), None)


def _gone(view: View, answer: ReadClaim) -> Wait | None:
    claim = answer.claim
    if claim is None or claim.deleting:
        what = "does not exist" if claim is None else "is being deleted"
        return Wait(
            Reason.CLAIM_NOT_FOUND,
            f"Claim {answer.name}, which checkpoint.volume.sharedClaim names, {what} in namespace "
            f"{view.job.metadata.namespace}: create it, and the job goes on by itself within half a minute.",
        )
    return _lost(claim) if claim.status.phase == "Lost" else None


def _lost(claim: Claim) -> Wait:
    name, volume = claim.metadata.name, claim.spec.volume_name
    told = f"Claim {name} has lost its volume {volume}: delete the claim. {_what_then(claim)}"
    return Wait(Reason.CLAIM_LOST, told)


def _what_then(claim: Claim) -> str:
    if claim.metadata.controller_uid:
        return f"Holdfast makes a new one. {_ANEW}"
    return "Create it anew; what was committed is fetched from the bucket."


def _pending(view: View, claim: Claim, told: str) -> Wait | None:
    name, wanted = claim.metadata.name, claim.spec.storage_class_name
    classes = view.observed.storage_classes
    if wanted is None and not any(one.default for one in classes.values()):
        why = f"Claim {name} names no storage class, and the cluster has no default one: mark one as the default."
        return Wait(Reason.STORAGE_CLASS_NOT_FOUND, why)
    if wanted and wanted not in classes:
        why = f"Claim {name} waits for a volume of storage class {wanted}, which does not exist: create the class, or "
        return Wait(Reason.STORAGE_CLASS_NOT_FOUND, f"{why}name another one in a new TrainingJob.")
    if told and "volume" not in told.lower():
        # The volume is made once its pod has a node, and there is none for another reason.
        return None
    why = f"The scheduler: {told}" if told else "See the claim's events if it lasts."
    return Wait(Reason.CLAIM_PENDING, f"Claim {name} has no volume yet. {why}"[:1000])


def _elsewhere(view: View, pod: Pod, claim: Claim, told: str) -> Wait:
    node, name = claim.chosen_node, claim.metadata.name
    where = "on other nodes than those that are free"
    if node:
        state = "is gone" if node not in view.observed.nodes else "has no room or is not ready"
        where = f"on node {node} or in its zone, and that node {state}"
    return Wait(
        Reason.VOLUME_OUT_OF_REACH,
        f"The volume of worker {pod.slot} (claim {name}) can be used only {where}. Bring it back or, if it is lost, "
        f"delete the claim (kubectl -n {view.job.metadata.namespace} delete pvc {name}). {_what_then(claim)} "
        f"The scheduler: {told}"[:1000],
    )
