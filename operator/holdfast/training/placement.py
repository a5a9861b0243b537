"""Which node pool each slice of several hosts gets.

On GKE a slice of several hosts is exactly one node pool. A slice is pinned to a whole free pool where there is one.
Where a pool has yet to be scaled up, host 0 leads: it is created alone, and the others follow into the pool that it was
given. Slices of a single host need no pin: any matching node is a whole slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast.api import labels as names
from holdfast.planning.observed import Node
from holdfast.planning.slots import Slot
from holdfast.training.view import View

NODE_POOL: Final = "cloud.google.com/gke-nodepool"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot's pod goes. `leads` pods find the pool for their slice; `waits` pods are not created yet."""

    pool: str | None = None
    leads: bool = False
    waits: bool = False


def places(view: View) -> Mapping[str, Place]:
    """Return the place of every slot by its name."""
    if view.spec.accelerator.tpu is None or view.shape.hosts_per_slice == 1:
        return {slot.name: Place() for slot in view.slots}
    taken = set(view.observed.occupied_pools)
    chosen: dict[int, str | None] = {}
    for number in range(view.shape.slices):
        # A leader that nobody has bound yet decides for its slice: the others wait for it.
        led = any(pod.metadata.labels.get(names.SLICE) == str(number) for pod in view.current.values())
        pool = _pool_in_use(view, number) or (None if led else _free_pool(view, taken))
        chosen[number] = pool
        if pool:
            taken.add(pool)
    return {slot.name: _place(slot, chosen[slot.slice]) for slot in view.slots}


def anti_affinity() -> dict[str, Any]:
    """Return what keeps a leader without a pool out of the pools of other leaders."""
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {
                    "matchLabels": {names.MANAGED_BY: names.MANAGED_BY_VALUE, names.HOST: "0"},
                },
                "namespaceSelector": {},
                "topologyKey": NODE_POOL,
            }
        ]
    }


def pools_in_use(view: View) -> dict[int, str]:
    """Return the node pool of every slice whose pods are bound, by the slice's number."""
    found: dict[int, str] = {}
    for pod in view.current.values():
        node = view.observed.nodes.get(pod.spec.node_name)
        pool = node.metadata.labels.get(NODE_POOL, "") if node else ""
        number = pod.metadata.labels.get(names.SLICE, "")
        if pool and number.isdigit():
            found.setdefault(int(number), pool)
    return found


def _place(slot: Slot, pool: str | None) -> Place:
    if pool:
        return Place(pool=pool)
    return Place(leads=slot.host == 0, waits=slot.host != 0)


def _pool_in_use(view: View, number: int) -> str | None:
    """Return the pool that a pod of this slice is pinned to or bound in, so that a crash changes no choice."""
    for pod in view.current.values():
        if pod.metadata.labels.get(names.SLICE) == str(number) and NODE_POOL in pod.spec.node_selector:
            return pod.spec.node_selector[NODE_POOL]
    return pools_in_use(view).get(number)


def _free_pool(view: View, taken: set[str]) -> str | None:
    members: dict[str, int] = defaultdict(int)
    for node in view.observed.nodes.values():
        pool = node.metadata.labels.get(NODE_POOL, "")
        if pool and pool not in taken and _usable(view, node):
            members[pool] += 1
    whole = sorted(pool for pool, count in members.items() if count == view.shape.hosts_per_slice)
    return whole[0] if whole else None


def _usable(view: View, node: Node) -> bool:
    """Say whether a pod of the job could be put on the node as far as labels tell: the template's wishes count too."""
    own: Mapping[str, str] = view.job.spec["template"]["spec"].get("nodeSelector") or {}
    labels = node.metadata.labels
    fits = all(labels.get(key) == value for key, value in {**own, **view.shape.node_selector}.items())
    fits = fits and all(_matches(labels, expression) for expression in view.shape.node_expressions)
    return fits and not node.spec.unschedulable and node.unready_since is None


def _matches(labels: Mapping[str, str], expression: Mapping[str, object]) -> bool:
    """Evaluate one match expression that the shape of a gang can carry: Exists or DoesNotExist."""
    present = expression["key"] in labels
    return present if expression["operator"] == "Exists" else not present
