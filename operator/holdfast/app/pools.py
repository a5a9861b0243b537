"""Which node pools hold accelerators for whom, kept up to date pod by pod, and who is about to take one.

Pods that Holdfast did not make count as well (`holdfast.app.strangers`): each is its own owner, without namespace.

Passes of different objects run side by side, and learn of each other's pods only through the watch. So what a plan
chooses counts from the moment of the plan.

Few passes have to place a slice, so nothing is added up ahead: a plan asks about the pools that it could use.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from holdfast.accelerators.tpu import ACCELERATOR_LABEL
from holdfast.cluster.cache import Cache
from holdfast.cluster.objects import Key
from holdfast.planning.observed import Node, Pod
from holdfast.training.pools import NODE_POOL

STRANGER: Final = ""


class PoolOccupancy:
    """Counts pods that ask for an accelerator or are pinned, and have not ended, by node pool and owning object."""

    def __init__(self, nodes: Cache[Node]) -> None:
        self._nodes = nodes
        self._counts: dict[str, Counter[Key]] = defaultdict(Counter)
        self._places: dict[str, tuple[str, Key]] = {}
        self._planned: dict[Key, frozenset[str]] = {}
        self._planners: dict[str, set[Key]] = {}
        self._nowhere: dict[str, dict[str, tuple[Key, Pod]]] = defaultdict(dict)

    def saw(self, key: Key, pod: Pod, *, gone: bool) -> None:
        """Note one version of a pod of the object `key`."""
        pool = "" if gone or pod.ended else self._pool(pod)
        place = (pool, key) if pool else None
        self._wait_for_node(key, pod, waits=not (gone or pod.ended or pool))
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

    def saw_node(self, name: str) -> None:
        """Note that a node has appeared: pods may have been seen on it before."""
        for key, pod in list(self._nowhere.get(name, {}).values()):
            self.saw(key, pod, gone=False)

    def plan(self, key: Key, pools: Iterable[str]) -> bool:
        """Note the pools that the newest plan of `key` creates pods in; those of the plan before are void.

        Return whether that gave a pool up, so that others who wait for one have to be planned.
        """
        planned = frozenset(pools)
        before = self._planned.pop(key, frozenset())
        for pool in before - planned:
            self._planners[pool].discard(key)
            if not self._planners[pool]:
                del self._planners[pool]
        for pool in planned - before:
            self._planners.setdefault(pool, set()).add(key)
        if planned:
            self._planned[key] = planned
        return any(key not in self._counts.get(pool, ()) for pool in before - planned)

    def forget_plans(self) -> None:
        """Drop what was planned and may never be carried out: another replica leads."""
        self._planned.clear()
        self._planners.clear()

    def occupied_by_others(self, key: Key) -> Mapping[str, str]:
        """Return the pools in which a pod of another owner than `key` holds accelerators, or will in a moment: for each
        who that is, a stranger before anybody of ours. The view is live, and costs what is asked of it."""
        return _OccupiedByOthers(self, key)

    def holder(self, pool: str, key: Key) -> str | None:
        """Return who else than `key` holds accelerators in the pool, or will in a moment; None for nobody."""
        held = [other for other, count in self._counts.get(pool, {}).items() if count > 0 and other != key]
        others = held or [other for other in self._planners.get(pool, ()) if other != key]
        return _who(min(others)) if others else None

    def known(self) -> set[str]:
        """Return every pool that anybody holds or has planned to take."""
        return self._counts.keys() | self._planners.keys()

    def _wait_for_node(self, key: Key, pod: Pod, *, waits: bool) -> None:
        """Keep a pod in mind whose node is not known yet, and forget it when it is, or when the pod is gone."""
        name, uid = pod.spec.node_name, pod.metadata.uid
        if waits and name and self._nodes.get("", name) is None:
            self._nowhere[name][uid] = (key, pod)
        elif name in self._nowhere:
            self._nowhere[name].pop(uid, None)
            if not self._nowhere[name]:
                del self._nowhere[name]

    def _pool(self, pod: Pod) -> str:
        """Return the pool that the pod is pinned to or bound in, empty where neither is known."""
        if pinned := pod.spec.node_selector.get(NODE_POOL):
            return pinned
        if ACCELERATOR_LABEL not in pod.spec.node_selector:
            return ""
        node = self._nodes.get("", pod.spec.node_name) if pod.spec.node_name else None
        return node.metadata.labels.get(NODE_POOL, "") if node is not None else ""


class _OccupiedByOthers(Mapping[str, str]):
    """What `PoolOccupancy` knows, as one object sees it."""

    def __init__(self, pools: PoolOccupancy, key: Key) -> None:
        self._pools = pools
        self._key = key

    def __getitem__(self, pool: str) -> str:
        if (holder := self._pools.holder(pool, self._key)) is None:
            raise KeyError(pool)
        return holder

    def __iter__(self) -> Iterator[str]:
        return (pool for pool in self._pools.known() if self._pools.holder(pool, self._key) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _who(key: Key) -> str:
    namespace, name = key
    return f"pod {name}" if namespace == STRANGER else f"TrainingJob {namespace}/{name}"
