"""What `accelerator` and `capacity` mean for pods: how many, what they ask for, and where they may run.

The labels and taints are GKE's. Where a node pool has no taint, a toleration does no harm; where it has one, a pod
without the toleration would wait for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from holdfast.accelerators import gpu, topology, tpu
from holdfast.accelerators.topology import TopologyError
from holdfast.api.accelerator import MAX_CHIPS, Accelerator, Arch, CpuAccelerator, GpuAccelerator, TpuAccelerator
from holdfast.api.capacity import Capacity, CapacityMode

ARCH_LABEL: Final = "kubernetes.io/arch"
MACHINE_FAMILY_LABEL: Final = "cloud.google.com/machine-family"
SPOT_LABEL: Final = "cloud.google.com/gke-spot"

Toleration = Mapping[str, str]
NodeExpression = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of a gang and what each of its pods needs.

    `resources` belong to the trainer's requests and limits. `node_expressions` are match expressions that every term of
    the pod's required node affinity must carry. `topology` is empty but for TPUs;
    `chips_per_host` counts GPUs as well, and is 0 without accelerators.
    """

    slices: int
    hosts_per_slice: int
    chips_per_host: int = 0
    topology: str = ""
    resources: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_expressions: tuple[NodeExpression, ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    @property
    def workers(self) -> int:
        """Return the number of pods of the gang."""
        return self.slices * self.hosts_per_slice

    @property
    def chips(self) -> int:
        """Return the number of chips of the gang."""
        return self.workers * self.chips_per_host


def placement(accelerator: Accelerator, capacity: Capacity) -> Shape:
    """Return the shape of the gang. Raises TopologyError, saying what to write, where there is no such accelerator."""
    kinds = (accelerator.cpu, accelerator.gpu, accelerator.tpu)
    match [kind for kind in kinds if kind is not None]:
        case [CpuAccelerator() as wanted]:
            return _cpu(wanted, capacity)
        case [GpuAccelerator() as wanted]:
            return _gpu(wanted, capacity)
        case [TpuAccelerator() as wanted]:
            return _tpu(wanted, capacity)
    raise TopologyError("accelerator: set exactly one of cpu, gpu and tpu")


def _cpu(cpu: CpuAccelerator, capacity: Capacity) -> Shape:
    selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    if cpu.arch is not Arch.ANY:
        selector[ARCH_LABEL] = cpu.arch.value.lower()
    if cpu.arch is Arch.ARM64:
        tolerations = (_tolerate(ARCH_LABEL, "arm64"),)
    if cpu.machine_family is not None:
        selector[MACHINE_FAMILY_LABEL] = cpu.machine_family
    return Shape(
        slices=1,
        hosts_per_slice=cpu.workers,
        node_selector=selector | _spot_selector(capacity),
        node_expressions=_spot_expressions(capacity),
        tolerations=tolerations + _spot_tolerations(capacity),
    )


def _gpu(wanted: GpuAccelerator, capacity: Capacity) -> Shape:
    facts = gpu.CATALOGUE[wanted.type]
    if facts.machine(wanted.per_worker) is None:
        allowed = " or ".join(map(str, facts.counts))
        raise TopologyError(f"machines with {facts.label} have other numbers of GPUs: set gpu.perWorker to {allowed}")
    return Shape(
        slices=1,
        hosts_per_slice=wanted.workers,
        chips_per_host=wanted.per_worker,
        resources={gpu.RESOURCE: str(wanted.per_worker)},
        node_selector={gpu.ACCELERATOR_LABEL: facts.label} | _spot_selector(capacity),
        node_expressions=_spot_expressions(capacity),
        tolerations=(
            {"key": gpu.RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
            *_spot_tolerations(capacity),
        ),
    )


def _tpu(wanted: TpuAccelerator, capacity: Capacity) -> Shape:
    facts = tpu.CATALOGUE[wanted.generation]
    shape = topology.read(facts, wanted.topology, wanted.chips_per_host)
    if wanted.slices > 1 and shape.single_host:
        raise TopologyError(f"{shape.text} has a single host: use a larger topology for {wanted.slices} slices")
    if wanted.slices * shape.chips > MAX_CHIPS:
        raise TopologyError(f"a job has at most {MAX_CHIPS} chips: use fewer slices or a smaller topology")
    selector = {tpu.ACCELERATOR_LABEL: facts.label, tpu.TOPOLOGY_LABEL: shape.text}
    if topology.choices(facts, shape):
        selector[tpu.COUNT_LABEL] = str(shape.chips_per_host)
    return Shape(
        slices=wanted.slices,
        hosts_per_slice=shape.hosts,
        chips_per_host=shape.chips_per_host,
        topology=shape.text,
        resources={tpu.RESOURCE: str(shape.chips_per_host)},
        node_selector=selector | _spot_selector(capacity),
        node_expressions=_spot_expressions(capacity),
        tolerations=(
            {"key": tpu.RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
            *_spot_tolerations(capacity),
        ),
    )


def _tolerate(key: str, value: str) -> Toleration:
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}


def _spot_selector(capacity: Capacity) -> dict[str, str]:
    return {SPOT_LABEL: "true"} if capacity.mode is CapacityMode.SPOT else {}


def _spot_tolerations(capacity: Capacity) -> tuple[Toleration, ...]:
    return (_tolerate(SPOT_LABEL, "true"),) if capacity.mode is CapacityMode.SPOT else ()


def _spot_expressions(capacity: Capacity) -> tuple[NodeExpression, ...]:
    """Keep on-demand work off Spot nodes: GKE Standard labels them, and taints them only where somebody asked."""
    if capacity.mode is CapacityMode.SPOT:
        return ()
    return ({"key": SPOT_LABEL, "operator": "DoesNotExist"},)
