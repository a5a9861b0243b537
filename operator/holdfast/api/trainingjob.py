"""The kind TrainingJob: a training run that goes on from its newest commit, whatever happens to its pods."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from holdfast.api.accelerator import Accelerator, few_chips
from holdfast.api.capacity import Capacity, Runtime
from holdfast.api.checkpoint import Checkpoint
from holdfast.api.model import ApiModel, Rule, immutable, once, rules, whole
from holdfast.api.recovery import Recovery
from holdfast.api.scalars import Duration
from holdfast.api.spec_rules import SPEC_RULES
from holdfast.api.status import TrainingJobStatus
from holdfast.api.template import PodTemplate

MAX_NAME_LENGTH: Final = 40
# What Linux takes as one string of a new process's environment, the variable's own name left out.
MAX_VARIABLE_BYTES: Final = 128 * 1024 - 32
CHIPS_PER_HOST: Final = 4
# `<name>-<slice>-<host>.<name>,`: two and four digits at the most.
_BYTES_OF_A_HOST: Final = "(2 * self.metadata.name.size() + 10)"

_OF_THE_NAME: Final = once(
    Rule(
        f"self.metadata.name.matches('^[a-z]([-a-z0-9]{{0,{MAX_NAME_LENGTH - 2}}}[a-z0-9])?$')",
        "metadata.name becomes part of the names of pods, hosts and a Service: use at most "
        f"{MAX_NAME_LENGTH} lower-case letters, digits and '-', begin with a letter and do not end with '-'",
    ),
    Rule(
        "!has(self.spec.accelerator.tpu) || "
        + few_chips("self.spec.accelerator.tpu", _BYTES_OF_A_HOST, MAX_VARIABLE_BYTES * CHIPS_PER_HOST),
        "the names of all hosts of a slice, made from metadata.name, must fit one variable of 128 KiB: use a "
        "shorter name or a smaller topology",
    ),
)

# A write of the status cannot change the spec, and to compare two templates is the dearest of all: where the status
# changed in one of these fields, as it does in nearly every write of it, they are not compared.
_STATUS_IS_WRITTEN: Final = (
    "has(self.status) && (!has(oldSelf.status)"
    " || (has(self.status.message) && has(oldSelf.status.message) && self.status.message != oldSelf.status.message)"
    " || self.status.?progress.?step.orValue(-1) != oldSelf.status.?progress.?step.orValue(-1))"
)
_TEMPLATE_STAYS: Final = Rule(
    f"{_STATUS_IS_WRITTEN} || self.spec.template == oldSelf.spec.template",
    immutable("template").message,
    at=".spec.template",
)


class TrainingJobSpec(ApiModel):
    """What is to be trained, on what, and how it survives."""

    model_config = ConfigDict(json_schema_extra=rules(*SPEC_RULES))

    accelerator: Annotated[Accelerator, Field(json_schema_extra=rules(immutable("accelerator")))]
    """What the workers compute on: exactly one of cpu, gpu and tpu."""

    capacity: Annotated[Capacity, Field(json_schema_extra=rules(immutable("capacity")))] = Capacity()
    """How the nodes are paid for."""

    runtime: Annotated[Runtime, Field(json_schema_extra=rules(immutable("runtime")))] = Runtime()
    """How the workers find each other."""

    template: Annotated[PodTemplate, Field(json_schema_extra=whole())]
    """The pod that every worker runs as; the container named trainer is the training program."""

    checkpoint: Checkpoint | None = None
    """Where checkpoints are written and committed. Without it a restart begins at step 0."""

    recovery: Recovery = Recovery()
    """What happens when a worker ends before its time."""

    suspend: bool = False
    """True stops the job after its last complete checkpoint was committed and removes its pods; false resumes it."""

    active_deadline: (
        Annotated[
            Duration,
            Field(
                json_schema_extra=rules(
                    Rule(
                        "duration(self) >= duration('1s') && duration(self) <= duration('87600h')",
                        "activeDeadline must be between 1s and 87600h: leave it out where there is no deadline",
                    )
                )
            ),
        ]
        | None
    ) = None
    """How long the job may be active in total, such as 72h. Attempts count from their first moment to their end, with
    their waits for capacity and between restarts; a suspended job does not count, nor one whose first attempt has not
    begun. Then the workers are asked for a last checkpoint and stopped, and the job fails with DeadlineExceeded; its
    commits are kept. Left out, there is no deadline."""

    ttl_after_finished: (
        Annotated[
            Duration,
            Field(
                json_schema_extra=rules(
                    Rule(
                        "duration(self) <= duration('87600h')",
                        "ttlAfterFinished must not exceed 87600h: leave it out to keep the object",
                    )
                )
            ),
        ]
        | None
    ) = None
    """How long after its success or failure the TrainingJob is deleted, with its pods and their logs, such as 24h; 0s
    deletes it as soon as nothing of it runs. The bucket is not touched. Left out, it is kept."""


class TrainingJob(ApiModel):
    """A training run: a gang of workers that restarts as a whole and goes on from its newest committed checkpoint."""

    model_config = ConfigDict(json_schema_extra=rules(*_OF_THE_NAME, _TEMPLATE_STAYS))

    spec: TrainingJobSpec
    """What is to be trained, on what, and how it survives."""

    status: TrainingJobStatus | None = None
    """The state of the job, as the operator saw it last."""
