"""What makes the workers look like GKE's accelerator nodes: labels, and capacity that no device stands behind.

Label keys and values are GKE's; chips of a v6e host and their topology are those of machine type ct6e-standard-4t.
"""

import json

from deploy.kind.console import step
from deploy.kind.kube import Kube, is_ready
from deploy.kind.process import wait_for

_ZONE = "local-1a"
_POOLS = "abcdefghijklmnop"
_CAPACITY = {"google.com/tpu": "4", "nvidia.com/gpu": "8"}


def labels_of(worker: int) -> dict[str, str]:
    """Labels of the ``worker``-th worker, counted from 1. Each is a node pool of its own, as a TPU slice is."""
    return {
        "cloud.google.com/gke-nodepool": f"tpu-{_POOLS[worker - 1]}",
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
        "cloud.google.com/gke-tpu-topology": "2x2",
        "cloud.google.com/gke-accelerator": "nvidia-h100-80gb",
        "cloud.google.com/gke-accelerator-count": "4",
        "cloud.google.com/gke-provisioning": "standard",
        "node.kubernetes.io/instance-type": "ct6e-standard-4t",
        "topology.kubernetes.io/region": "local-1",
        "topology.kubernetes.io/zone": _ZONE,
    }


def dress(kube: Kube, nodes: list[str]) -> None:
    """Give the nodes their labels and their capacity; a Node that registers anew has lost both."""
    workers = kube.nodes()[1:]
    for node in nodes:
        if node not in workers:
            continue
        labels = [f"{key}={value}" for key, value in labels_of(workers.index(node) + 1).items()]
        kube.kubectl("label", "node", node, "--overwrite", *labels)
        status = {"status": {"capacity": _CAPACITY, "allocatable": _CAPACITY}}
        kube.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", json.dumps(status))


def dressed(node: dict[str, object]) -> bool:
    """Whether a Node object has the capacity."""
    status = node.get("status")
    capacity = status.get("allocatable", {}) if isinstance(status, dict) else {}
    return all(capacity.get(name) == amount for name, amount in _CAPACITY.items())


def wait_ready(kube: Kube, timeout_s: float = 120) -> None:
    """Wait until all nodes are Ready and have a pod subnet."""
    with step("nodes ready"):
        wait_for("all nodes are Ready", lambda: all_ready(kube), timeout_s=timeout_s, every_s=0.5)


def all_ready(kube: Kube) -> bool:
    """Whether every node of the cluster is registered, Ready and has a pod subnet."""
    items = {one["metadata"]["name"]: one for one in kube.get("nodes")["items"]}
    return all(name in items and is_ready(items[name]) and items[name]["spec"].get("podCIDR") for name in kube.nodes())


def pod_subnets(kube: Kube) -> dict[str, str]:
    """Pod subnet -> address of its node, for every node that has one."""
    return {
        one["spec"]["podCIDR"]: next(a["address"] for a in one["status"]["addresses"] if a["type"] == "InternalIP")
        for one in kube.get("nodes")["items"]
        if one["spec"].get("podCIDR")
    }
