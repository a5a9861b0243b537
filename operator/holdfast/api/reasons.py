"""Every reason that a status, a condition or an event can carry: one stable word each, and what it is about.

`holdfast.api.reason_facts` has a row for each; the paragraph in docs/runbook.md under the heading of that name tells
people what to do.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something is as it is. Words are never renamed, since alerts are written against them."""

    # Accepted
    ACCEPTED = "Accepted"
    SPEC_UNREADABLE = "SpecUnreadable"
    TEMPLATE_REFUSED = "TemplateRefused"
    DRY_RUN_UNANSWERED = "DryRunUnanswered"
    MEMORY_LIMIT_TOO_LOW = "MemoryLimitTooLow"
    CLAIM_UNSUITABLE = "ClaimUnsuitable"

    # Waiting for pods
    AWAITING_PODS = "AwaitingPods"
    PREVIOUS_JOB_TERMINATING = "PreviousJobTerminating"
    PREVIOUS_ATTEMPT_TERMINATING = "PreviousAttemptTerminating"
    UNSCHEDULABLE = "Unschedulable"
    AWAITING_NODE_POOL = "AwaitingNodePool"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_SECURITY_REFUSED = "PodSecurityRefused"
    SERVICE_ACCOUNT_MISSING = "ServiceAccountMissing"
    LIMIT_RANGE_EXCEEDED = "LimitRangeExceeded"
    CREATE_REFUSED = "CreateRefused"
    BACKING_OFF = "BackingOff"
    NODE_UNREACHABLE = "NodeUnreachable"

    # Waiting for claims: of the checkpoint volume, or that the template mounts
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CLAIM_PENDING = "ClaimPending"
    CLAIM_LOST = "ClaimLost"
    CLAIM_TERMINATING = "ClaimTerminating"
    STORAGE_CLASS_NOT_FOUND = "StorageClassNotFound"
    VOLUME_OUT_OF_REACH = "VolumeOutOfReach"

    # Waiting for the restore step, and the bucket
    RESTORING = "Restoring"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_REFUSED = "StoreRefused"
    RETENTION_FAILED = "RetentionFailed"
    READY = "Ready"
    RESTORED = "Restored"
    STARTED_FROM_NOTHING = "StartedFromNothing"
    RESTORE_FELL_BACK = "RestoreFellBack"

    # States
    RUNNING = "Running"
    DELETING = "Deleting"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    NOT_SUSPENDED = "NotSuspended"
    SUCCEEDED = "Succeeded"
    FINISHED = "Finished"

    # Failed, for good
    FINAL_EXIT_CODE = "FinalExitCode"
    MAX_RESTARTS_EXCEEDED = "MaxRestartsExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PREFIX_TAKEN = "PrefixTaken"
    NO_RESTORABLE_CHECKPOINT = "NoRestorableCheckpoint"
    RESTORE_REFUSED = "RestoreRefused"

    # Why an attempt ended
    WORKER_FAILED = "WorkerFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    NODE_LOST = "NodeLost"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    POD_DELETED = "PodDeleted"
    FINAL_CHECKPOINT_NOT_COMMITTED = "FinalCheckpointNotCommitted"
    SUPERSEDED = "Superseded"
    RESTORE_FAILED = "RestoreFailed"
    STALLED = "Stalled"
    NODE_POOL_TAKEN = "NodePoolTaken"
    PLACED_ANEW = "PlacedAnew"
    UNKNOWN = "Unknown"

    # Health of the trainer's checkpoints
    HEALTHY = "Healthy"
    INCOMPLETE_CHECKPOINT = "IncompleteCheckpoint"
    CHECKPOINT_CHANGES = "CheckpointChanges"
    UNSUPPORTED_FILE = "UnsupportedFile"
    VOLUME_UNUSABLE = "VolumeUnusable"
    COMMIT_BLOCKED = "CommitBlocked"

    # Who restore and sidecar run as
    SIDECAR_RUNS_AS_TRAINER = "SidecarRunsAsTrainer"
    SIDECAR_RUNS_AS_ROOT = "SidecarRunsAsRoot"


class Sort(StrEnum):
    """What a reason says about the job."""

    REFUSED = "Refused"
    """The object is not carried out until its spec changes."""

    WAITING = "Waiting"
    """Something is waited for; the job goes on by itself once it is there."""

    STATE = "State"
    """The job is where it should be."""

    TERMINAL = "Terminal"
    """The job has ended."""

    CAUSE = "Cause"
    """An attempt ended because of it; the next one follows."""

    WARNING = "Warning"
    """The job runs, and something about it should change."""
