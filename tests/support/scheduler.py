"""A scheduler of a few lines for tests: one pod with chips a node, node selectors, required node affinity, and required
anti-affinity among node pools, in both directions as the real one has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

POOL = "cloud.google.com/gke-nodepool"

Document = dict[str, Any]


@dataclass(frozen=True)
class Host:
    """A node as the scheduler sees it."""

    name: str
    labels: Mapping[str, str]
    unschedulable: bool = False


def first_fit(pod: Document, hosts: Iterable[Host], bound: Iterable[Document]) -> str | None:
    """Return the first host that takes the pod beside the pods that are bound and have not ended, or None."""
    there = list(bound)
    everywhere = {host.name: host for host in hosts}
    taken = {other["spec"]["nodeName"] for other in there}
    for host in everywhere.values():
        if host.unschedulable or host.name in taken or not _selected(pod["spec"], host.labels):
            continue
        pool = host.labels.get(POOL)
        peers = [other for other in there if _pool(everywhere, other) == pool]
        if not any(_repels(pod, other) or _repels(other, pod) for other in peers):
            return host.name
    return None


def _pool(hosts: Mapping[str, Host], pod: Document) -> str | None:
    host = hosts.get(pod["spec"]["nodeName"])
    return host.labels.get(POOL) if host else None


def _selected(spec: Document, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_all_hold(labels, term["matchExpressions"]) for term in required["nodeSelectorTerms"])


def _repels(one: Document, other: Document) -> bool:
    """Say whether the required anti-affinity of `one` selects `other`."""
    own = (one["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
    labels = other["metadata"].get("labels") or {}
    for term in own.get("requiredDuringSchedulingIgnoredDuringExecution", ()):
        selector = term["labelSelector"]
        matched = all(labels.get(key) == value for key, value in selector["matchLabels"].items())
        if matched and _all_hold(labels, selector["matchExpressions"]):
            return True
    return False


def _all_hold(labels: Mapping[str, str], expressions: Iterable[Mapping[str, Any]]) -> bool:
    return all(_holds(labels, expression) for expression in expressions)


def _holds(labels: Mapping[str, str], expression: Mapping[str, Any]) -> bool:
    present, value = expression["key"] in labels, labels.get(expression["key"])
    match expression["operator"]:
        case "DoesNotExist":
            return not present
        case "NotIn":
            return value not in expression["values"]
        case other:
            raise AssertionError(f"the scheduler of the tests does not know {other}: teach it")
