"""`status` of a TrainingJob. The operator builds it from these models and writes it as one piece.

It stays far below 64 KB however many workers there are: every list has a limit, and nothing is kept a worker.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from holdfast.api.model import ApiModel, atomic, keyed, whole
from holdfast.api.recovery import MAX_RESTARTS
from holdfast.api.scalars import INT32_MAX, INT53_MAX, Decimal, Message, RowMessage, Step, Time

MAX_ATTEMPT_ROWS: Final = 20
MAX_NODES: Final = 5
MAX_CHECKPOINTS: Final = 10

_Count = Annotated[int, Field(ge=0, le=INT32_MAX)]
_Word = Annotated[str, Field(max_length=64, pattern=r"^([A-Za-z][A-Za-z0-9]*)?$")]


class Phase(StrEnum):
    """A summary of the conditions for people; nothing reads it back."""

    REFUSED = "Refused"
    PENDING = "Pending"
    STARTING = "Starting"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    STOPPING = "Stopping"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class StatusModel(ApiModel):
    """A part of the status. Parts that were made by `model_copy` are checked again when they are put together."""

    model_config = ConfigDict(revalidate_instances="always")


# Who writes a part of the status writes all of that part.
_WHOLE: Final = ConfigDict(json_schema_extra=whole())


class Condition(StatusModel):
    """One aspect of the job's state, in the form that all Kubernetes tools read."""

    model_config = _WHOLE

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    """Which aspect this is."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    observed_generation: Annotated[int, Field(ge=0, le=INT53_MAX)] | None = None
    """The generation of the spec that this was said about."""

    last_transition_time: Time
    """When status last changed."""

    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    """Why, as one stable word; the runbook has a paragraph for each."""

    message: Message = ""
    """Why, for people, with what to do next."""


class WorkerCounts(StatusModel):
    """How many workers the current attempt has, by how far they are."""

    model_config = _WHOLE

    desired: _Count = 0
    """Workers that the accelerator asks for."""

    created: _Count = 0
    """Pods that exist."""

    running: _Count = 0
    """Workers whose trainer runs."""

    succeeded: _Count = 0
    """Workers whose trainer ended with exit code 0."""


class Progress(StatusModel):
    """What the trainer says about itself through the client library; refreshed at most once a minute."""

    model_config = _WHOLE

    step: Step | None = None
    """The newest step of any worker."""

    total: Step | None = None
    """The step at which the trainer means to end."""

    loss: Decimal | None = None
    """The newest loss, as a decimal number."""

    steps_per_second: Decimal | None = None
    """The newest speed, as a decimal number."""


class CommittedCheckpoint(StatusModel):
    """One committed checkpoint: it can be restored."""

    step: Step
    """The trainer's step."""

    run: _Count
    """The run that committed it, as in the bucket."""

    committed_at: Time
    """When it was committed."""

    bytes: Annotated[int, Field(ge=0, le=INT53_MAX)] = 0
    """The size of all its parts."""

    manifest: Annotated[str, Field(max_length=640)] = ""
    """The full name of its manifest in the bucket."""


class CheckpointStatus(StatusModel):
    """What is in the bucket."""

    model_config = _WHOLE

    latest: CommittedCheckpoint | None = None
    """The newest commit: where the next attempt starts."""

    restored_step: Step | None = None
    """The step that the current attempt started from."""

    commits: Annotated[
        tuple[CommittedCheckpoint, ...],
        Field(alias="list", max_length=MAX_CHECKPOINTS, json_schema_extra=atomic()),
    ] = ()
    """The newest commits, newest first."""


class AttemptRow(StatusModel):
    """One attempt: when it ran and why it ended."""

    attempt: _Count
    """The attempt's number, counted from 1."""

    started_at: Time
    """When its number was written, before its first pod; of the first attempt, when its first pod was created."""

    ended_at: Time | None = None
    """When it ended; missing while it runs."""

    cause: _Word | None = None
    """Why it ended, as one stable word; Unknown where nobody saw it."""

    message: RowMessage | None = None
    """Why it ended, for people."""

    exit_code: Annotated[int, Field(ge=-1, le=255)] | None = None
    """The exit code of the trainer that ended first, if one did."""

    slot: Annotated[str, Field(max_length=32)] | None = None
    """The slot of the worker that ended first."""

    nodes: Annotated[
        tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=MAX_NODES, json_schema_extra=atomic())
    ] = ()
    """Nodes of the workers that ended first."""

    restored_step: Step | None = None
    """The step that it started from."""


class SlicePool(StatusModel):
    """Where a slice runs."""

    model_config = _WHOLE

    slice: _Count
    """The slice's number, counted from 0."""

    node_pool: Annotated[str, Field(max_length=63)]
    """The GKE node pool that it has for itself."""


class TrainingJobStatus(StatusModel):
    """The state of a training job, as the operator saw it last."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=keyed("type"))] = ()
    """The aspects of the job's state, each with its reason."""

    observed_generation: Annotated[int, Field(ge=0, le=INT53_MAX)] | None = None
    """The generation of the spec that this status is about."""

    phase: Phase | None = None
    """A summary of the conditions, for people."""

    reason: _Word | None = None
    """Why the job is in this phase, as one stable word."""

    message: Message | None = None
    """Why the job is in this phase, and what to do next."""

    attempt: _Count | None = None
    """The number of the current attempt. It is written before the first pod of that attempt is created; that of the
    first attempt once there is something to tell."""

    restarts: _Count | None = None
    """Restarts within recovery.restartWindow that count against recovery.maxRestarts."""

    restart_times: Annotated[tuple[Time, ...], Field(max_length=MAX_RESTARTS + 1, json_schema_extra=atomic())] = ()
    """When the restarts that count happened, oldest first; those older than recovery.restartWindow are dropped."""

    workers: WorkerCounts | None = None
    """How many workers the current attempt has."""

    progress: Progress | None = None
    """What the trainer says about itself."""

    checkpoint: CheckpointStatus | None = None
    """What is in the bucket."""

    attempts: Annotated[tuple[AttemptRow, ...], Field(max_length=MAX_ATTEMPT_ROWS, json_schema_extra=atomic())] = ()
    """The last attempts, newest last."""

    active_seconds: Annotated[int, Field(ge=0, le=INT53_MAX)] | None = None
    """Seconds that the attempts which have ended were active for, all together; spec.activeDeadline counts them and
    the time since the current attempt began."""

    node_pools: Annotated[tuple[SlicePool, ...], Field(max_length=64, json_schema_extra=keyed("slice"))] = ()
    """Which node pool each slice runs in, where nodes are in GKE node pools."""

    next_retry_at: Time | None = None
    """When the next attempt starts, while a restart waits."""

    def dump(self) -> dict[str, Any]:
        """Return the status as JSON values, without what is not set; lists are always there."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")
