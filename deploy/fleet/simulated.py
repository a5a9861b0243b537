"""Simulated nodes with the labels, taints and sizes that GKE gives real ones.

Sizes and labels by machine type: Google's public GKE and Cloud TPU documentation. A multi-host TPU slice is one node
pool; a GPU or CPU pool has any number of nodes. CPU nodes take as many pods as GKE can be told to allow.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from deploy.kind.console import Problem

ZONE = "us-central2-b"
_POOL = re.compile(r"(?P<shape>[a-z0-9-]+?)(:(?P<topology>\d+(x\d+){1,2}))?(=(?P<count>\d+))?")


@dataclass(frozen=True)
class Machine:
    """One machine type: ``chips`` of ``resource`` (0 of none on CPU nodes), cores, memory in GiB, room for pods."""

    accelerator: str
    machine_type: str
    resource: str
    chips: int
    cpu: int
    memory_gib: int
    pods: int = 110


MACHINES = {
    "v6e": Machine("tpu-v6e-slice", "ct6e-standard-4t", "google.com/tpu", 4, 180, 720),
    "v6e-8t": Machine("tpu-v6e-slice", "ct6e-standard-8t", "google.com/tpu", 8, 360, 1440),
    "v5p": Machine("tpu-v5p-slice", "ct5p-hightpu-4t", "google.com/tpu", 4, 208, 448),
    "h100": Machine("nvidia-h100-80gb", "a3-highgpu-8g", "nvidia.com/gpu", 8, 208, 1872),
    "n2": Machine("", "n2-standard-128", "", 0, 128, 512, pods=256),
}


@dataclass(frozen=True)
class Pools:
    """``count`` node pools of one shape, each with as many nodes as its topology has hosts."""

    shape: str
    topology: str | None
    count: int

    @property
    def machine(self) -> Machine:
        """The machine type of all nodes."""
        return MACHINES[self.shape]

    @property
    def hosts(self) -> int:
        """Nodes in each pool."""
        if self.topology is None:
            return 1
        return math.prod(int(side) for side in self.topology.split("x")) // self.machine.chips


def parse(text: str) -> Pools:
    """Read ``SHAPE[:TOPOLOGY][=COUNT]``, such as ``v6e:4x4=8`` (8 pools of 4 hosts) or ``h100=16``.

    Raises:
        Problem: if it is none of the known shapes, or the topology does not fit the shape.
    """
    found = _POOL.fullmatch(text)
    if found is None or found["shape"] not in MACHINES:
        raise Problem(f"{text!r}: write SHAPE[:TOPOLOGY][=COUNT] with a shape of {', '.join(MACHINES)}")
    pools = Pools(found["shape"], found["topology"], int(found["count"] or 1))
    is_tpu = pools.machine.resource == "google.com/tpu"
    if is_tpu != (pools.topology is not None):
        raise Problem(f"{text!r}: {pools.shape} takes {'a topology, such as v6e:4x4' if is_tpu else 'no topology'}")
    if pools.topology is not None:
        chips = math.prod(int(side) for side in pools.topology.split("x"))
        if chips == 0 or chips % pools.machine.chips:
            raise Problem(f"{text!r}: {chips} chips do not divide into hosts with {pools.machine.chips} each")
    return pools


def nodes(wanted: list[Pools], *, spot: bool = False) -> list[dict[str, Any]]:
    """Node objects of all pools, named ``SHAPE-POOL-HOST``."""
    made = []
    numbers: dict[str, int] = {}
    for pools in wanted:
        for _ in range(pools.count):
            number = numbers.get(pools.shape, 0)
            numbers[pools.shape] = number + 1
            pool = f"{pools.shape}-{number:04d}"
            made += [_node(pools, pool, host, spot=spot) for host in range(pools.hosts)]
    return made


def _node(pools: Pools, pool: str, host: int, *, spot: bool) -> dict[str, Any]:
    machine = pools.machine
    name = f"{pool}-{host:04d}"
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        "node.kubernetes.io/instance-type": machine.machine_type,
        "topology.kubernetes.io/region": ZONE.rsplit("-", 1)[0],
        "topology.kubernetes.io/zone": ZONE,
        "cloud.google.com/gke-nodepool": pool,
        "cloud.google.com/gke-provisioning": "spot" if spot else "standard",
    }
    taints = []
    size = {
        "cpu": str(machine.cpu), "memory": f"{machine.memory_gib}Gi", "pods": str(machine.pods),
        "ephemeral-storage": "90Gi",
    }  # fmt: skip
    if machine.chips:
        labels["cloud.google.com/gke-accelerator-count"] = str(machine.chips)
        taints.append({"key": machine.resource, "value": "present", "effect": "NoSchedule"})
        size[machine.resource] = str(machine.chips)
    if pools.topology is not None:
        labels["cloud.google.com/gke-tpu-accelerator"] = machine.accelerator
        labels["cloud.google.com/gke-tpu-topology"] = pools.topology
    elif machine.chips:
        labels["cloud.google.com/gke-accelerator"] = machine.accelerator
        labels["cloud.google.com/gke-gpu"] = "true"
    if spot:
        labels["cloud.google.com/gke-spot"] = "true"
        taints.append({"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": taints, "providerID": f"kwok://{ZONE}/{name}"},
        "status": {"capacity": size, "allocatable": size},
    }
