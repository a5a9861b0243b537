"""Which node pools hold accelerators for whom, kept up to date pod by pod."""

from __future__ import annotations

from collections import Counter, defaultdict

from holdfast.accelerators.tpu import ACCELERATOR_LABEL
from holdfast.cluster.cache import Cache
from holdfast.cluster.objects import Key
from holdfast.planning.observed import Node, Pod
from holdfast.training.placement import NODE_POOL


class PoolOccupancy:
    """Counts pods that ask for an accelerator and have not ended, by node pool and owning object."""

    def __init__(self, nodes: Cache[Node]) -> None:
        self._nodes = nodes
        self._counts: dict[str, Counter[Key]] = defaultdict(Counter)
        self._places: dict[str, tuple[str, Key]] = {}

    def saw(self, key: Key, pod: Pod, *, gone: bool) -> None:
        """Note one version of a pod of the object `key`."""
        pool = "" if gone or pod.ended else self._pool(pod)
        place = (pool, key) if pool else None
        before = self._places.get(pod.metadata.uid)
        if place == before:
            return
        if before is not None:
            self._counts[before[0]][before[1]] -= 1
            if not +self._counts[before[0]]:
                del self._counts[before[0]]
            del self._places[pod.metadata.uid]
        if place is not None:
            self._counts[place[0]][place[1]] += 1
            self._places[pod.metadata.uid] = place

    def occupied_by_others(self, key: Key) -> frozenset[str]:
        """Return the pools in which a pod of another object than `key` holds accelerators."""
        return frozenset(
            pool
            for pool, counts in self._counts.items()
            if any(count > 0 and other != key for other, count in counts.items())
        )

    def _pool(self, pod: Pod) -> str:
        """Return the pool that the pod is pinned to or bound in, empty where neither is known."""
        if ACCELERATOR_LABEL not in pod.spec.node_selector:
            return ""
        if pinned := pod.spec.node_selector.get(NODE_POOL):
            return pinned
        node = self._nodes.get("", pod.spec.node_name) if pod.spec.node_name else None
        return node.metadata.labels.get(NODE_POOL, "") if node is not None else ""
