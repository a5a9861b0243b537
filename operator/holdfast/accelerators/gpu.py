"""The GPU types as GKE offers them: labels, machines, and what a GPU can do.

Labels, machine types and counts are those of GKE's cluster autoscaler; memory and bandwidth those of Google's Compute
Engine documentation, peaks those of NVIDIA's data sheets (dense bfloat16).

A pod selects the type alone: a machine of Standard clusters need not carry the label for the number of GPUs. GPUDirect
asks for more of a pod (network interfaces, a daemon, host paths), which a template may carry; without it NCCL uses the
ordinary network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.api.accelerator import GpuType

RESOURCE: Final = "nvidia.com/gpu"
ACCELERATOR_LABEL: Final = "cloud.google.com/gke-accelerator"


@dataclass(frozen=True, slots=True)
class GpuMachine:
    """A machine type and how many GPUs it has."""

    name: str
    gpus: int


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One type. The peak is a GPU's, in TFLOP/s; memory in GB and GB/s."""

    type: GpuType
    machines: tuple[GpuMachine, ...]
    bf16_tflops: float
    hbm_gb: float
    hbm_gb_s: float

    @property
    def label(self) -> str:
        """Return the value of GKE's node label."""
        return self.type.value

    @property
    def counts(self) -> tuple[int, ...]:
        """Return how many GPUs a machine may have, the smallest number first."""
        return tuple(sorted({machine.gpus for machine in self.machines}))

    def machine(self, gpus: int) -> GpuMachine | None:
        """Return the first machine type with that many GPUs, or None."""
        return next((machine for machine in self.machines if machine.gpus == gpus), None)


def _sizes(prefix: str, *counts: int) -> tuple[GpuMachine, ...]:
    return tuple(GpuMachine(f"{prefix}-{count}g", count) for count in counts)


A100_40: Final = GpuFacts(
    type=GpuType.A100_40,
    machines=(*_sizes("a2-highgpu", 1, 2, 4, 8), GpuMachine("a2-megagpu-16g", 16)),
    bf16_tflops=312,
    hbm_gb=40,
    hbm_gb_s=1555,
)
A100_80: Final = GpuFacts(
    type=GpuType.A100_80,
    machines=_sizes("a2-ultragpu", 1, 2, 4, 8),
    bf16_tflops=312,
    hbm_gb=80,
    hbm_gb_s=2039,
)
H100: Final = GpuFacts(
    type=GpuType.H100,
    machines=(*_sizes("a3-highgpu", 1, 2, 4, 8), GpuMachine("a3-edgegpu-8g", 8)),
    bf16_tflops=989,
    hbm_gb=80,
    hbm_gb_s=3350,
)
H100_MEGA: Final = GpuFacts(
    type=GpuType.H100_MEGA,
    machines=_sizes("a3-megagpu", 8),
    bf16_tflops=989,
    hbm_gb=80,
    hbm_gb_s=3350,
)

CATALOGUE: Final = {facts.type: facts for facts in (A100_40, A100_80, H100, H100_MEGA)}
