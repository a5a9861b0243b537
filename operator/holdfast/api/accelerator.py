"""`spec.accelerator`: what a worker computes on. Exactly one of the kinds is set; everything else follows from it.

Facts about hardware live in `holdfast.accelerators`; only what the API server must refuse at apply is repeated here,
and a test keeps both equal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from holdfast.api.model import ApiModel, Rule, once, rules

V6E_TOPOLOGIES: Final = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
V5P_SUB_CUBES: Final = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
V5P_MAX_CHIPS: Final = 8960
ARM_FAMILIES: Final = ("c4a", "n4a", "t2a")
MAX_SLICES: Final = 64
# Ten thousand hosts of the usual size: what the status and the checkpoints of one job are made for.
MAX_CHIPS: Final = 40_000


class Arch(StrEnum):
    """The processor's architecture."""

    AMD64 = "Amd64"
    ARM64 = "Arm64"
    ANY = "Any"


class Generation(StrEnum):
    """A generation of TPU."""

    V5P = "v5p"
    V6E = "v6e"


class GpuType(StrEnum):
    """A type of GPU, by the name that GKE gives it."""

    A100_40 = "nvidia-tesla-a100"
    A100_80 = "nvidia-a100-80gb"
    H100 = "nvidia-h100-80gb"
    H100_MEGA = "nvidia-h100-mega-80gb"


# How many GPUs of a type the machines have that GKE offers.
GPU_COUNTS: Final = {
    GpuType.A100_40: (1, 2, 4, 8, 16),
    GpuType.A100_80: (1, 2, 4, 8),
    GpuType.H100: (1, 2, 4, 8),
    GpuType.H100_MEGA: (8,),
}


def _cel_list(items: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{item}'" for item in items) + "]"


def few_chips(tpu: str, factor: str, limit: int) -> str:
    """Return a CEL expression: the chips of one slice of the accelerator at path `tpu` times `factor` are at most
    `limit`. It holds for a topology that is none, which another rule refuses."""
    dims = f"{tpu}.topology.split('x')"
    chips = f"int({dims}[0]) * int({dims}[1]) * ({dims}.size() == 3 ? int({dims}[2]) : 1)"
    shape = "^[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){1,2}$"
    return f"!{tpu}.topology.matches('{shape}') || {factor} * {chips} <= {limit}"


def _gpu_rule(kind: GpuType, counts: tuple[int, ...]) -> Rule:
    listed = ", ".join(map(str, counts))
    allowed = f"one of {listed}" if len(counts) > 1 else listed
    return Rule(
        f"self.type != '{kind.value}' || self.perWorker in [{listed}]",
        f"machines with {kind.value} have {listed} GPUs: set perWorker to {allowed}",
    )


_DIMS: Final = "self.topology.split('x')"
_V5P_CUBES: Final = (
    "self.topology.matches('^[1-9][0-9]{0,2}x[1-9][0-9]{0,2}x[1-9][0-9]{0,2}$')"
    f" && {_DIMS}.all(d, int(d) % 4 == 0)"
    f" && int({_DIMS}[0]) <= int({_DIMS}[1]) && int({_DIMS}[1]) <= int({_DIMS}[2])"
    f" && int({_DIMS}[0]) * int({_DIMS}[1]) * int({_DIMS}[2]) <= {V5P_MAX_CHIPS}"
)
_SINGLE_HOST: Final = "self.topology in ['1x1', '2x2', '2x2x1'] || (has(self.chipsPerHost) && self.chipsPerHost == 8)"
_TPU_RULES: Final = (
    Rule(
        f"self.generation != 'v6e' || self.topology in {_cel_list(V6E_TOPOLOGIES)}",
        f"a v6e topology is one of {', '.join(V6E_TOPOLOGIES)}",
    ),
    Rule(
        f"self.generation != 'v5p' || self.topology in {_cel_list(V5P_SUB_CUBES)} || ({_V5P_CUBES})",
        f"a v5p topology is one of {', '.join(V5P_SUB_CUBES)}, or AxBxC with A <= B <= C, each a multiple of 4 "
        f"and at most {V5P_MAX_CHIPS} chips, such as 4x4x8",
    ),
    Rule(
        "self.generation != 'v5p' || !has(self.chipsPerHost) || self.chipsPerHost == 4",
        "a v5p host has 4 chips: leave chipsPerHost out or set it to 4",
    ),
    Rule(
        "self.generation != 'v6e' || !has(self.chipsPerHost) || "
        "(self.topology == '1x1' && self.chipsPerHost == 1) || "
        "(self.topology == '2x4' && self.chipsPerHost in [4, 8]) || "
        "(!(self.topology in ['1x1', '2x4']) && self.chipsPerHost == 4)",
        "v6e hosts have 4 chips, 1 with topology 1x1, and 4 or 8 with topology 2x4: change chipsPerHost, or "
        "leave it out",
    ),
    Rule(
        f"self.slices == 1 || !({_SINGLE_HOST})",
        "several slices work together only where each has several hosts: use a larger topology, or leave slices out",
    ),
    Rule(
        few_chips("self", "self.slices", MAX_CHIPS),
        f"a job has at most {MAX_CHIPS} chips: use fewer slices or a smaller topology",
    ),
)


class CpuAccelerator(ApiModel):
    """Workers without an accelerator: the resources are those that the template asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *once(
                Rule(
                    "self.arch == 'Arm64' || !has(self.machineFamily) "
                    f"|| !(self.machineFamily in {_cel_list(ARM_FAMILIES)})",
                    f"the machine families {', '.join(ARM_FAMILIES)} are Arm machines: set arch to Arm64",
                ),
            )
        )
    )

    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many workers run at the same time, one pod each."""

    arch: Arch = Arch.ANY
    """The processor that the images are built for. Amd64 and Arm64 select nodes of that architecture (Arm64 tolerates
    the taint of GKE's Arm nodes too). Any selects nothing: nodes that carry a taint for their architecture are not
    used."""

    machine_family: Annotated[str, Field(min_length=2, max_length=16, pattern=r"^[a-z][a-z0-9]+$")] | None = None
    """A machine family of Compute Engine, such as c4a or n4, if nodes of that family alone may be used."""


class GpuAccelerator(ApiModel):
    """Workers with GPUs: one pod each, with as many GPUs as a machine of that type has."""

    model_config = ConfigDict(json_schema_extra=rules(*once(*(_gpu_rule(*item) for item in GPU_COUNTS.items()))))

    type: GpuType
    """The type of GPU, as GKE names it in the node label cloud.google.com/gke-accelerator."""

    per_worker: Annotated[int, Field(ge=1, le=16)] = 8
    """GPUs of one worker: as many as a machine type of GKE has. 8 is the whole machine for most types."""

    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many workers run at the same time, one pod each."""


class TpuAccelerator(ApiModel):
    """Slices of TPU chips. The number of workers is the number of hosts of the topology."""

    model_config = ConfigDict(json_schema_extra=rules(*once(*_TPU_RULES)))

    generation: Generation
    """The generation of the chips: v5p or v6e (Trillium)."""

    topology: Annotated[str, Field(min_length=3, max_length=11)]
    """The shape of one slice in chips, such as 4x4 for v6e or 4x4x8 for v5p."""

    slices: Annotated[int, Field(ge=1, le=MAX_SLICES)] = 1
    """How many slices of this topology the job runs on. Each gets a whole node pool for itself; several are joined over
    the data-centre network (multislice), and each then has to have several hosts."""

    chips_per_host: Annotated[int, Field(ge=1, le=8)] | None = None
    """Chips of one host. Only v6e 2x4 leaves a choice: 4 (two hosts, the default) or 8 (one host)."""


class Accelerator(ApiModel):
    """What the workers compute on: exactly one kind is set."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *once(
                Rule(
                    "[has(self.cpu), has(self.gpu), has(self.tpu)].exists_one(kind, kind)",
                    "set exactly one of cpu, gpu and tpu",
                )
            )
        )
    )

    cpu: CpuAccelerator | None = None
    """Plain processors: a given number of workers."""

    gpu: GpuAccelerator | None = None
    """GPUs: a given number of workers with a given number of GPUs each."""

    tpu: TpuAccelerator | None = None
    """TPU slices: the workers follow from the topology."""
