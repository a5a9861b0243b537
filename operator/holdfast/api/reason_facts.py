"""What is known of each reason: what it says about the job, what it means, and what the reader does next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.api.reasons import Reason, Sort

RUNBOOK: Final = "docs/runbook.md"


@dataclass(frozen=True, slots=True)
class Facts:
    """One reason. `next_step` is fit to end a message; it is empty where nothing is to be done."""

    sort: Sort
    meaning: str
    next_step: str = ""


def anchor(reason: Reason) -> str:
    """Return where the runbook speaks about the reason, as a path within the repository."""
    return f"{RUNBOOK}#{reason.value.lower()}"


FACTS: Final[dict[Reason, Facts]] = {
    Reason.ACCEPTED: Facts(Sort.STATE, "The spec was read, and the API server takes a pod of it."),
    Reason.SPEC_UNREADABLE: Facts(
        Sort.REFUSED,
        "The operator cannot read the spec, although the API server took it.",
        "Bring the CRD and the operator to the same version.",
    ),
    Reason.TEMPLATE_REFUSED: Facts(
        Sort.REFUSED,
        "A dry run of the first pod was refused by the API server.",
        "Correct the template in a new TrainingJob.",
    ),
    Reason.MEMORY_LIMIT_TOO_LOW: Facts(
        Sort.REFUSED,
        "The trainer's memory limit leaves no room beside its checkpoint volume in memory.",
        "Raise resources.limits.memory, or lower volume.memory.sizeLimit, in a new TrainingJob.",
    ),
    Reason.CLAIM_UNSUITABLE: Facts(
        Sort.WAITING,
        "The claim of volume.sharedClaim cannot be written to by all workers.",
        "Name a ReadWriteMany claim in a new TrainingJob, or make the claim anew.",
    ),
    Reason.CLAIM_NOT_FOUND: Facts(
        Sort.WAITING,
        "The claim of volume.sharedClaim, or one that the template mounts, does not exist or is being deleted.",
        "Create the claim in the job's namespace.",
    ),
    Reason.CLAIM_PENDING: Facts(
        Sort.WAITING,
        "A claim of the checkpoint volume, or one that the template mounts, has no volume yet.",
        "Look at the claim and its storage class if it lasts.",
    ),
    Reason.CLAIM_LOST: Facts(
        Sort.WAITING,
        "The volume behind a claim was deleted.",
        "Delete the claim. Holdfast makes a worker's own anew; any other has to be created again.",
    ),
    Reason.CLAIM_TERMINATING: Facts(
        Sort.WAITING, "A worker's claim is being deleted; a new one is made once it is gone.", "Wait."
    ),
    Reason.STORAGE_CLASS_NOT_FOUND: Facts(
        Sort.WAITING,
        "A claim names a storage class that does not exist, or none while the cluster has no default.",
        "Create the storage class, or name another one in a new TrainingJob.",
    ),
    Reason.VOLUME_OUT_OF_REACH: Facts(
        Sort.WAITING,
        "A worker's volume can be used only where no node has room or is left.",
        "Bring the node back or, if it is lost, delete the claim.",
    ),
    Reason.AWAITING_PODS: Facts(Sort.WAITING, "Pods are being created and started."),
    Reason.PREVIOUS_JOB_TERMINATING: Facts(
        Sort.WAITING,
        "Pods of a deleted job of the same name are not gone yet.",
        "Wait, or look at why they do not end.",
    ),
    Reason.PREVIOUS_ATTEMPT_TERMINATING: Facts(
        Sort.WAITING,
        "Pods of the attempt before are not gone yet.",
        "Wait, or look at the nodes of these pods.",
    ),
    Reason.UNSCHEDULABLE: Facts(
        Sort.WAITING, "No node fits a worker.", "Add capacity or change the template's requests."
    ),
    Reason.AWAITING_NODE_POOL: Facts(
        Sort.WAITING,
        "No node pool with the topology is free for a slice.",
        "Wait, free a node pool or add one.",
    ),
    Reason.IMAGE_PULL_FAILED: Facts(
        Sort.WAITING,
        "An image of the pod cannot be pulled.",
        "Make the image available under that name, or create a new TrainingJob with another one.",
    ),
    Reason.CONTAINER_CONFIG_INVALID: Facts(
        Sort.WAITING,
        "The kubelet cannot create a container of the pod.",
        "Create what the container refers to, or correct the template in a new TrainingJob.",
    ),
    Reason.QUOTA_EXCEEDED: Facts(
        Sort.WAITING, "A quota of the namespace does not allow a pod.", "Raise the quota or free some of it."
    ),
    Reason.POD_SECURITY_REFUSED: Facts(
        Sort.WAITING,
        "The namespace's pod security level forbids the pod.",
        "Change the template's security context in a new TrainingJob, or the namespace's level.",
    ),
    Reason.SERVICE_ACCOUNT_MISSING: Facts(
        Sort.WAITING, "The service account of the pod does not exist.", "Create the service account."
    ),
    Reason.LIMIT_RANGE_EXCEEDED: Facts(
        Sort.WAITING,
        "A LimitRange of the namespace forbids the resources of a pod.",
        "Change the LimitRange, or the resources in the template of a new TrainingJob.",
    ),
    Reason.CREATE_REFUSED: Facts(
        Sort.WAITING, "The API server refuses to create a pod or the Service.", "Do what its message asks for."
    ),
    Reason.BACKING_OFF: Facts(Sort.WAITING, "An attempt failed; the next one starts at status.nextRetryAt."),
    Reason.NODE_UNREACHABLE: Facts(
        Sort.WAITING,
        "The node of a worker does not answer; the worker is given up after recovery.nodeLostTimeout.",
        "Nothing, or delete the Node object if the machine is gone for certain.",
    ),
    Reason.RESTORING: Facts(Sort.WAITING, "The gang agrees on a checkpoint and fetches it."),
    Reason.BUCKET_NOT_FOUND: Facts(
        Sort.WAITING,
        "The bucket of checkpoint.destination does not exist.",
        "Create the bucket, or create a new TrainingJob with another destination.",
    ),
    Reason.ACCESS_DENIED: Facts(
        Sort.WAITING,
        "The pod's service account may not use the bucket.",
        "Let it create, read, list and delete objects in the bucket.",
    ),
    Reason.STORE_UNAVAILABLE: Facts(
        Sort.WAITING,
        "The bucket does not answer, or answers with errors that may pass.",
        "Look at the network between the pods and the bucket if it lasts.",
    ),
    Reason.STORE_REFUSED: Facts(
        Sort.WAITING,
        "The bucket refuses what it is asked, in a way that no further try will change.",
        "Do what the message says.",
    ),
    Reason.RETENTION_FAILED: Facts(
        Sort.WARNING,
        "Checkpoints are committed, but older ones cannot be deleted.",
        "Let the pods' service account delete objects in the bucket.",
    ),
    Reason.DRY_RUN_UNANSWERED: Facts(
        Sort.WAITING,
        "The API server does not answer whether it would take a pod of the job.",
        "Look for an admission webhook for pods that fails.",
    ),
    Reason.DELETING: Facts(Sort.STATE, "The job is being deleted: its pods are drained and stopped first."),
    Reason.READY: Facts(Sort.STATE, "The bucket can be used."),
    Reason.RESTORED: Facts(Sort.STATE, "The gang has agreed on a committed checkpoint and has it."),
    Reason.STARTED_FROM_NOTHING: Facts(
        Sort.STATE, "There was no commit to go on from, or restore.policy None said so: the attempt began at step 0."
    ),
    Reason.RESTORE_FELL_BACK: Facts(
        Sort.WARNING,
        "The newest commit did not verify, and the gang went on from an older one.",
        "Find out who changed or deleted objects below the prefix.",
    ),
    Reason.RUNNING: Facts(Sort.STATE, "All trainers run."),
    Reason.SUSPENDING: Facts(Sort.WAITING, "The job is being stopped because suspend is true."),
    Reason.SUSPENDED: Facts(Sort.STATE, "suspend is true and no pod is left.", "Set suspend to false to resume."),
    Reason.NOT_SUSPENDED: Facts(Sort.STATE, "suspend is false."),
    Reason.SUCCEEDED: Facts(
        Sort.TERMINAL, "All trainers ended with exit code 0, and the last complete step is committed."
    ),
    Reason.FINISHED: Facts(Sort.TERMINAL, "The job has ended, and no pod of it runs."),
    Reason.FINAL_EXIT_CODE: Facts(
        Sort.TERMINAL,
        "A trainer ended with one of recovery.finalExitCodes.",
        "Mend the program and create the job again: it goes on from its newest commit.",
    ),
    Reason.MAX_RESTARTS_EXCEEDED: Facts(
        Sort.TERMINAL,
        "More restarts within recovery.restartWindow than recovery.maxRestarts allows.",
        "Look at status.attempts, mend the cause and create the job again.",
    ),
    Reason.DEADLINE_EXCEEDED: Facts(
        Sort.TERMINAL,
        "The job was active for as long as spec.activeDeadline allows.",
        "To go on, create the job again with the same destination and a longer deadline.",
    ),
    Reason.PREFIX_TAKEN: Facts(
        Sort.TERMINAL,
        "Another job that was created later owns checkpoint.destination.",
        "Give each job a prefix of its own.",
    ),
    Reason.NO_RESTORABLE_CHECKPOINT: Facts(
        Sort.TERMINAL,
        "The prefix holds commits, and none of them verifies.",
        "Look at the bucket before anything is deleted; restore.policy None in a new job starts from nothing.",
    ),
    Reason.RESTORE_REFUSED: Facts(
        Sort.TERMINAL,
        "The restore that was ordered cannot be carried out.",
        "Choose a committed step, or another policy, in a new TrainingJob.",
    ),
    Reason.WORKER_FAILED: Facts(Sort.CAUSE, "A container of a worker ended with an exit code.", "Read its log."),
    Reason.OUT_OF_MEMORY: Facts(
        Sort.CAUSE, "A container used more memory than its limit.", "Raise resources.limits.memory."
    ),
    Reason.NODE_LOST: Facts(Sort.CAUSE, "The node of a worker is gone or was out of reach for too long."),
    Reason.EVICTED: Facts(Sort.CAUSE, "A worker was evicted from its node."),
    Reason.PREEMPTED: Facts(Sort.CAUSE, "The capacity of a worker was taken away for something else."),
    Reason.POD_DELETED: Facts(Sort.CAUSE, "Somebody deleted the pod of a worker."),
    Reason.FINAL_CHECKPOINT_NOT_COMMITTED: Facts(
        Sort.CAUSE,
        "All trainers ended with exit code 0, but the last complete step was not committed.",
        "Raise checkpoint.flushTimeout if uploads take longer.",
    ),
    Reason.SUPERSEDED: Facts(Sort.CAUSE, "The bucket knows of a newer attempt than status did."),
    Reason.RESTORE_FAILED: Facts(Sort.CAUSE, "The restore step of a worker ended with an error.", "Read its log."),
    Reason.STALLED: Facts(
        Sort.CAUSE,
        "No worker reported another step for recovery.stallTimeout.",
        "Find out what the trainers waited for, or raise the timeout.",
    ),
    Reason.NODE_POOL_TAKEN: Facts(
        Sort.CAUSE,
        "Somebody else's pod holds accelerators in a node pool that a slice was to have for itself.",
        "Keep other pods off these node pools with a taint or a selector.",
    ),
    Reason.PLACED_ANEW: Facts(
        Sort.CAUSE, "The job waited for new node pools, and enough of those that exist became free."
    ),
    Reason.UNKNOWN: Facts(Sort.CAUSE, "An attempt ended and nobody saw why."),
    Reason.HEALTHY: Facts(Sort.STATE, "The trainer's checkpoints complete."),
    Reason.INCOMPLETE_CHECKPOINT: Facts(
        Sort.WARNING,
        "A worker began a checkpoint that does not complete.",
        "With one directory a host, make Orbax's manager with holdfast.client.orbax.",
    ),
    Reason.CHECKPOINT_CHANGES: Facts(
        Sort.WARNING,
        "A checkpoint that was complete is still being written to, so it is not committed.",
        "Let the trainer write each step into a directory of its own and leave it alone afterwards.",
    ),
    Reason.UNSUPPORTED_FILE: Facts(
        Sort.WARNING,
        "A checkpoint holds something that cannot be committed, such as a socket or a device.",
        "Keep to files, directories and symbolic links.",
    ),
    Reason.VOLUME_UNUSABLE: Facts(
        Sort.WARNING,
        "The sidecar cannot read or write the checkpoint volume.",
        "Look at the volume's size and at the user that the template sets.",
    ),
    Reason.COMMIT_BLOCKED: Facts(
        Sort.WARNING,
        "Something in the bucket stands where a manifest belongs and is none of ours.",
        "Remove the object that the message names, or choose another prefix.",
    ),
    Reason.SIDECAR_RUNS_AS_TRAINER: Facts(Sort.STATE, "Restore and sidecar run as the trainer's user."),
    Reason.SIDECAR_RUNS_AS_ROOT: Facts(
        Sort.WARNING,
        "The template names no user, so that restore and sidecar run as root with three capabilities.",
        "Set securityContext.runAsUser in the template.",
    ),
}
