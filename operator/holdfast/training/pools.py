"""The node pools that a slice of the job could have, as far as nodes tell: which are whole, and what others lack.

On GKE a slice of several hosts is exactly one node pool, so a pool is whole when it has as many nodes as the slice has
hosts, and each of them would take a pod of the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from holdfast.planning.observed import Node, Taint
from holdfast.training.view import View

NODE_POOL: Final = "cloud.google.com/gke-nodepool"
_KEEPS_OFF: Final = frozenset({"NoSchedule", "NoExecute"})
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Pools:
    """Every pool of the right kind by name, with its nodes, those of them that can be used now, and since when it is
    known: its oldest node's creation, missing where a node does not tell."""

    hosts: int
    nodes: Mapping[str, int]
    usable: Mapping[str, int]
    since: Mapping[str, datetime]

    @property
    def whole(self) -> list[str]:
        """Return the pools that could hold a slice if nobody else had them, sorted."""
        return sorted(pool for pool in self.nodes if self.nodes[pool] == self.usable.get(pool) == self.hosts)

    def explain(self, holders: Mapping[str, str]) -> str:
        """Say why no pool is free, naming the first few."""
        lacking = self.nodes.keys() - set(self.whole)
        held = {pool: holders[pool] for pool in self.nodes if pool in holders}
        told = [
            f"{pool} is held by {held[pool]}"
            if pool in held
            else f"{pool} has {self.usable.get(pool, 0)} usable nodes of {self.nodes[pool]}"
            for pool in sorted(lacking | held.keys())
        ]
        more = f", and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        return "; ".join(told[:_NAMED]) + more


def survey(view: View) -> Pools:
    """Look at all nodes once."""
    own: Mapping[str, str] = view.job.spec["template"]["spec"].get("nodeSelector") or {}
    wanted = {**own, **view.shape.node_selector}
    tolerations = [*(view.job.spec["template"]["spec"].get("tolerations") or []), *view.shape.tolerations]
    nodes: dict[str, int] = {}
    usable: dict[str, int] = {}
    since: dict[str, datetime] = {}
    for node in view.observed.nodes.values():
        pool = node.metadata.labels.get(NODE_POOL, "")
        if not pool or not _of_the_kind(view, node, wanted):
            continue
        nodes[pool] = nodes.get(pool, 0) + 1
        created = node.metadata.creation_timestamp
        if created is not None:
            since[pool] = min(created, since.get(pool, created))
        if not node.spec.unschedulable and node.unready_since is None and _tolerated(node.spec.taints, tolerations):
            usable[pool] = usable.get(pool, 0) + 1
    return Pools(view.shape.hosts_per_slice, nodes, usable, since)


def _of_the_kind(view: View, node: Node, wanted: Mapping[str, str]) -> bool:
    """Say whether a pod of the job may run there as far as labels tell: the template's wishes count too."""
    labels = node.metadata.labels
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _matches(labels, expression) for expression in view.shape.node_expressions
    )


def _matches(labels: Mapping[str, str], expression: Mapping[str, object]) -> bool:
    """Evaluate one match expression that the shape of a gang can carry: Exists or DoesNotExist."""
    present = expression["key"] in labels
    return present if expression["operator"] == "Exists" else not present


def _tolerated(taints: Iterable[Taint], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    accepted = list(tolerations)
    return all(
        any(_tolerates(toleration, taint) for toleration in accepted) for taint in taints if taint.effect in _KEEPS_OFF
    )


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    if toleration.get("key") and toleration["key"] != taint.key:
        return False
    if toleration.get("effect") and toleration["effect"] != taint.effect:
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == taint.value
