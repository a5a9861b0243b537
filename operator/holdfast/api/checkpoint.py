"""`spec.checkpoint`: where the trainer writes its checkpoints, and where Holdfast commits them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from holdfast.api.model import ApiModel, Rule, immutable, rules
from holdfast.api.scalars import INT32_MAX, AbsolutePath, Destination, Duration, Step
from holdfast.api.volume import CheckpointVolume, DiskVolume
from holdfast.api.wire import RUN_DIRECTORY


class CheckpointFormat(StrEnum):
    """How a complete checkpoint is told from one that is still being written."""

    AUTO = "Auto"
    ORBAX = "Orbax"
    MARKER = "Marker"


class RestorePolicy(StrEnum):
    """Where a job starts."""

    LATEST = "Latest"
    STEP = "Step"
    NONE = "None"


class Cadence(ApiModel):
    """How often the trainer is asked to write a checkpoint."""

    every_steps: Annotated[int, Field(ge=1, le=INT32_MAX)] = 100
    """Steps between two checkpoints. The trainer reads it from HOLDFAST_EVERY_STEPS at its start, and changes of it
    through the client library."""


class Retention(ApiModel):
    """Which committed checkpoints are kept in the bucket."""

    keep_last: Annotated[int, Field(ge=2, le=1000)] = 3
    """How many of the newest checkpoints are kept. Older ones are deleted only after a newer one was committed."""


class Restore(ApiModel):
    """An order to start from a certain point. It is carried out once; later attempts go on from the newest commit."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule("self.policy != 'Step' || has(self.step)", "policy Step needs a step: set restore.step"),
            Rule(
                "self.policy == 'Step' || !has(self.step)",
                "step is only for policy Step: remove it or set policy to Step",
            ),
        )
    )

    policy: RestorePolicy = RestorePolicy.LATEST
    """Latest goes on from the newest commit, Step from the one of exactly that step, None starts from nothing."""

    step: Step | None = None
    """The step to start from with policy Step; it must be committed."""


class Checkpoint(ApiModel):
    """Where the trainer writes its checkpoints, and where Holdfast commits them."""

    directory: Annotated[
        AbsolutePath,
        Field(
            json_schema_extra=rules(
                immutable("checkpoint.directory"),
                Rule(
                    f"self != '{RUN_DIRECTORY}' && !self.startsWith('{RUN_DIRECTORY}/')",
                    f"{RUN_DIRECTORY} is Holdfast's own: choose another directory",
                ),
            )
        ),
    ] = "/checkpoints"
    """Where the trainer finds the volume; it writes one directory a step into it. Also in HOLDFAST_CHECKPOINT_DIR."""

    volume: Annotated[CheckpointVolume, Field(json_schema_extra=rules(immutable("checkpoint.volume")))] = (
        CheckpointVolume(disk=DiskVolume())
    )
    """The volume that the trainer writes its checkpoints to."""

    destination: Annotated[Destination, Field(json_schema_extra=rules(immutable("checkpoint.destination")))]
    """Where checkpoints are committed: gs://<bucket>/<prefix>. One prefix belongs to one job at a time; a job created
    anew with the same name and prefix goes on from its commits."""

    cadence: Cadence = Cadence()
    """How often the trainer is asked to write a checkpoint."""

    format: Annotated[CheckpointFormat, Field(json_schema_extra=rules(immutable("checkpoint.format")))] = (
        CheckpointFormat.AUTO
    )
    """How a complete checkpoint is recognised: Orbax by Orbax's own commit, Marker by the file .holdfast-complete that
    the trainer creates last in the step's directory, Auto by either."""

    retention: Retention = Retention()
    """Which committed checkpoints are kept in the bucket."""

    restore: Restore = Restore()
    """Where the job starts."""

    flush_timeout: Annotated[
        Duration,
        Field(
            json_schema_extra=rules(
                Rule(
                    "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
                    "flushTimeout must be between 1s and 24h",
                )
            )
        ),
    ] = "10m"
    """How long a worker that ends may take to upload what is complete. It is the pod's grace period; Spot nodes cut it
    short."""
