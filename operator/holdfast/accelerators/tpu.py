"""The TPU generations as GKE offers them: labels, machines, topologies, and what a chip can do.

Labels, machine types and chip counts are those of GKE's cluster autoscaler and TPU device plugin; peaks, memory and
bandwidth are those of Google's Cloud TPU documentation. `cores_per_chip` tells how a short name counts: `v5p-128` is
128 cores (64 chips), `v6e-256` is 256 chips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.api.accelerator import V5P_MAX_CHIPS, V5P_SUB_CUBES, V6E_TOPOLOGIES, Generation

RESOURCE: Final = "google.com/tpu"
ACCELERATOR_LABEL: Final = "cloud.google.com/gke-tpu-accelerator"
TOPOLOGY_LABEL: Final = "cloud.google.com/gke-tpu-topology"
COUNT_LABEL: Final = "cloud.google.com/gke-accelerator-count"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine type: chips, virtual processors, memory in GB."""

    name: str
    chips: int
    vcpus: int
    memory_gb: int


@dataclass(frozen=True, slots=True)
class TpuFacts:
    """One generation.

    `topologies` are those that are listed one by one. `cube` is the side of the block that larger ones are made of, 0
    where there are none; `max_chips` the largest slice. Peaks are a chip's, dense: TFLOP/s in bfloat16, TOP/s in int8;
    memory in GiB and GB/s; `ici_gb_s` the links between chips, both directions, in GB/s.
    """

    generation: Generation
    label: str
    machines: tuple[Machine, ...]
    dimensions: int
    topologies: tuple[str, ...]
    cube: int
    max_chips: int
    cores_per_chip: int
    bf16_tflops: float
    int8_tops: float
    hbm_gib: float
    hbm_gb_s: float
    ici_gb_s: float

    def machine(self, chips: int) -> Machine | None:
        """Return the machine type with that many chips, or None."""
        return next((machine for machine in self.machines if machine.chips == chips), None)


V6E: Final = TpuFacts(
    generation=Generation.V6E,
    label="tpu-v6e-slice",
    machines=(
        Machine("ct6e-standard-1t", 1, 44, 176),
        Machine("ct6e-standard-4t", 4, 180, 720),
        Machine("ct6e-standard-8t", 8, 360, 1440),
    ),
    dimensions=2,
    topologies=V6E_TOPOLOGIES,
    cube=0,
    max_chips=256,
    cores_per_chip=1,
    bf16_tflops=918,
    int8_tops=1836,
    hbm_gib=32,
    hbm_gb_s=1638,
    ici_gb_s=800,
)

V5P: Final = TpuFacts(
    generation=Generation.V5P,
    label="tpu-v5p-slice",
    machines=(Machine("ct5p-hightpu-4t", 4, 208, 448),),
    dimensions=3,
    topologies=V5P_SUB_CUBES,
    cube=4,
    max_chips=V5P_MAX_CHIPS,
    cores_per_chip=2,
    bf16_tflops=459,
    int8_tops=918,
    hbm_gib=95,
    hbm_gb_s=2765,
    ici_gb_s=1200,
)

CATALOGUE: Final = {facts.generation: facts for facts in (V5P, V6E)}
