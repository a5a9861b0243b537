"""Pods that Holdfast did not make and that hold TPU chips: a node pool with one of them is not free.

No selector knows what a pod asks for, so this is a watch of all pods but Holdfast's that are bound and have not ended.
What asks for no chips is dropped as soon as it is decoded: what stays is at most a pod a node with chips, however many
pods the cluster has. Nothing else of these pods is read or kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from holdfast.accelerators.tpu import ACCELERATOR_LABEL, RESOURCE
from holdfast.api import labels
from holdfast.app.pools import STRANGER, PoolOccupancy
from holdfast.cluster.cache import Cache
from holdfast.cluster.objects import Header, Identity, Kind, Metadata
from holdfast.cluster.reflector import Reflector, Selection, WatchSettings
from holdfast.planning.observed import Metadata as PodMetadata
from holdfast.planning.observed import Pod, PodSpec
from holdfast.planning.plan import PODS
from holdfast.seams import ApiTransport, Clock, Random

_ENDED: Final = ("Succeeded", "Failed")


class Resources(msgspec.Struct, frozen=True, gc=False):
    """What a container asks for. Requests of chips always equal their limits."""

    limits: dict[str, Any] = {}


class Container(msgspec.Struct, frozen=True, gc=False):
    """One container."""

    resources: Resources = Resources()


class StrangerSpec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Where the pod is and what it holds."""

    node_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class StrangerStatus(msgspec.Struct, frozen=True, gc=False):
    """How far it is."""

    phase: str = ""


class Stranger(msgspec.Struct, frozen=True, gc=False):
    """A pod, seen as far as this module has to."""

    metadata: Metadata = Metadata()
    spec: StrangerSpec = StrangerSpec()
    status: StrangerStatus = StrangerStatus()


def identify(pod: Stranger) -> Identity:
    """Return who the pod is."""
    return Header(pod.metadata).identity


def holds_chips(pod: Stranger) -> bool:
    """Say whether the pod keeps a node pool from being free."""
    bound = bool(pod.spec.node_name) and pod.status.phase not in _ENDED
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    return bound and any(RESOURCE in container.resources.limits for container in containers)


class Strangers:
    """Follows these pods and tells the occupancy of node pools. `wake()` is called when one came or went."""

    def __init__(
        self,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        pools: PoolOccupancy,
        wake: Callable[[], None],
        settings: WatchSettings,
    ) -> None:
        self._pools = pools
        self._wake = wake
        self.cache: Cache[Stranger] = Cache(identify)
        self.cache.listen(self._changed)
        self.reflector = Reflector(
            transport,
            clock,
            random,
            Kind(PODS, Stranger, identify),
            self.cache,
            selection=Selection(
                labels=f"!{labels.JOB_UID}",
                fields="spec.nodeName!=," + ",".join(f"status.phase!={phase}" for phase in _ENDED),
                keep=holds_chips,
            ),
            settings=settings,
        )

    def _changed(self, old: Stranger | None, new: Stranger | None) -> None:
        pod = new or old
        if pod is None:
            return
        meta = pod.metadata
        seen = Pod(
            metadata=PodMetadata(namespace=meta.namespace, name=meta.name, uid=meta.uid),
            spec=PodSpec(node_name=pod.spec.node_name, node_selector={ACCELERATOR_LABEL: ""}),
        )
        self._pools.saw((STRANGER, f"{meta.namespace}/{meta.name}"), seen, gone=new is None)
        if old is None or new is None:
            self._wake()
