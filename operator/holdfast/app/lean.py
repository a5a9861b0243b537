"""Pods and objects of our kinds in little memory: what is equal in many of them is held once.

The pods of a gang share their owner, most labels, their selector, and, since the kubelets' stamps are whole seconds,
most conditions and container states. Held apart, 50,000 pods take twice as much memory. Hundreds of jobs are often of
one form, and carry the text that they were applied from besides.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from holdfast.planning.observed import ContainerStatus, CustomObject, Pod, PodSpec

REMEMBERED = 50_000
SPECS_REMEMBERED = 1024
# Written and read by kubectl alone, and as long as the object.
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class LeanObjects:
    """Call it with an object of one of our kinds as it was decoded; it returns one that plans cannot tell from it."""

    def __init__(self) -> None:
        self._specs: dict[bytes, dict[str, Any]] = {}

    def __call__(self, item: CustomObject) -> CustomObject:
        """Return the object with a spec that others of its form have too, and without kubectl's copy of it."""
        if len(self._specs) >= SPECS_REMEMBERED:
            self._specs.clear()
        meta = item.metadata
        if LAST_APPLIED in meta.annotations:
            notes = {key: value for key, value in meta.annotations.items() if key != LAST_APPLIED}
            meta = replace(meta, annotations=notes)
        spec = self._specs.setdefault(msgspec.json.encode(item.spec), item.spec)
        return CustomObject(metadata=meta, spec=spec, status=item.status)


class LeanPods:
    """Call it with a pod as it was decoded; it returns an equal one."""

    def __init__(self) -> None:
        self._held: dict[Any, Any] = {}

    def __call__(self, pod: Pod) -> Pod:
        """Return an equal pod whose parts are those that other pods have too."""
        if len(self._held) > REMEMBERED:
            # What is held in pods stays there; from here on it is only shared among new ones.
            self._held.clear()
        # The first value that was equal to this one; a call between would take as long as this itself.
        once = self._held.setdefault
        meta, spec, status = pod.metadata, pod.spec, pod.status
        conditions = tuple([once(one, one) for one in status.conditions])
        return Pod(
            metadata=replace(
                meta,
                namespace=once(meta.namespace, meta.namespace),
                creation_timestamp=once(meta.creation_timestamp, meta.creation_timestamp),
                labels={key: once(value, value) for key, value in meta.labels.items()},
                annotations=self._mapping(meta.annotations),
                owner_references=once(meta.owner_references, meta.owner_references),
                finalizers=once(meta.finalizers, meta.finalizers),
            ),
            spec=PodSpec(node_name=spec.node_name, node_selector=self._mapping(spec.node_selector)),
            status=replace(
                status,
                phase=once(status.phase, status.phase),
                start_time=once(status.start_time, status.start_time),
                conditions=once(conditions, conditions),
                container_statuses=self._containers(status.container_statuses),
                init_container_statuses=self._containers(status.init_container_statuses),
            ),
        )

    def _containers(self, statuses: tuple[ContainerStatus, ...]) -> tuple[ContainerStatus, ...]:
        once = self._held.setdefault
        shared = tuple([once(status, status) for status in statuses])
        held: tuple[ContainerStatus, ...] = once(shared, shared)
        return held

    def _mapping(self, value: dict[str, str]) -> dict[str, str]:
        """Return one dictionary for all equal ones: projections are never changed."""
        held: dict[str, str] = self._held.setdefault((dict, *value.items()), value)
        return held
