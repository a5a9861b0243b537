"""`spec.checkpoint.volume`: the volume that the trainer writes its checkpoints to. Exactly one kind is set.

The first three kinds give every worker a volume of its own. A shared claim is one directory for all workers, as Orbax
takes it for granted by default; then one worker's sidecar uploads for all of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from holdfast.api.model import ApiModel, Rule, once, rules, says, unique
from holdfast.api.scalars import Quantity

_KINDS: Final = ("disk", "memory", "claimTemplate", "sharedClaim")

# The names of claims and storage classes: RFC 1123 subdomains.
_ObjectName = Annotated[
    str,
    Field(
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        json_schema_extra=says("write the name of an object in the cluster: lower-case letters, digits, '-' and '.'"),
    ),
]


class Layout(StrEnum):
    """How the workers' checkpoints make one commit: a part each, or one part that all of them wrote together."""

    PER_HOST = "PerHost"
    SHARED = "Shared"


class AccessMode(StrEnum):
    """How many nodes, or pods, may use a claim at the same time."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"
    READ_WRITE_MANY = "ReadWriteMany"


class DiskVolume(ApiModel):
    """A directory on the node's disk that lives as long as the pod."""

    size_limit: Quantity | None = None
    """The most that the volume may hold, such as 20Gi; beyond it the kubelet evicts the pod. Leave room for the
    checkpoints that the trainer keeps and one more."""


class MemoryVolume(ApiModel):
    """A directory in the node's memory that lives as long as the pod."""

    size_limit: Quantity
    """The most that the volume may hold, such as 8Gi. What is written counts as memory of the container that writes
    it: the trainer's memory limit must be greater, by what the program itself needs."""


class ClaimRequests(ApiModel):
    """What a claim asks for."""

    storage: Quantity
    """The size of each worker's volume. Leave room for the checkpoints that the trainer keeps and one more."""


class ClaimResources(ApiModel):
    """What a claim asks for."""

    requests: ClaimRequests
    """What a claim asks for."""


class ClaimTemplate(ApiModel):
    """A claim for each worker, as in a StatefulSet. It survives attempts and suspension, and goes with the job."""

    storage_class_name: _ObjectName | None = None
    """The storage class; the cluster's default where it is left out."""

    access_modes: Annotated[
        tuple[AccessMode, ...],
        Field(
            min_length=1,
            max_length=3,
            json_schema_extra={
                **unique(),
                **rules(
                    Rule(
                        "!('ReadWriteOncePod' in self) || self.size() == 1",
                        "ReadWriteOncePod cannot be combined with other access modes: leave it alone or leave it out",
                    )
                ),
            },
        ),
    ] = (AccessMode.READ_WRITE_ONCE,)
    """How the volume may be mounted. One worker uses it at a time, so ReadWriteOnce is enough."""

    resources: ClaimResources
    """The size of the volume."""


class SharedClaim(ApiModel):
    """A claim that exists already, in which all workers share one directory."""

    claim_name: _ObjectName
    """The claim's name, in the job's namespace. With more than one worker it must be ReadWriteMany. The job uses the
    directory <namespace>.<name of the job> in it."""


class CheckpointVolume(ApiModel):
    """The volume that the trainer writes its checkpoints to: exactly one kind is set."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *once(
                Rule(
                    f"[{', '.join(f'has(self.{kind})' for kind in _KINDS)}].filter(kind, kind).size() == 1",
                    "set exactly one kind of volume: disk (which may be empty: disk: {}), memory, claimTemplate or "
                    "sharedClaim",
                )
            )
        )
    )

    disk: DiskVolume | None = None
    """A directory on the node's disk that lives as long as the pod; the bucket keeps what was committed."""

    memory: MemoryVolume | None = None
    """A directory in the node's memory that lives as long as the pod, for the shortest saves."""

    claim_template: ClaimTemplate | None = None
    """A claim for each worker that is used again by its next attempt, which then fetches only what is missing."""

    shared_claim: SharedClaim | None = None
    """A directory on one claim that all workers share, for trainers that write a checkpoint together: worker 0's
    sidecar restores and uploads for all."""

    @property
    def layout(self) -> Layout:
        """Return how many parts a commit has: one on a shared claim, else one a worker."""
        return Layout.SHARED if self.shared_claim is not None else Layout.PER_HOST
