"""The watched part of the cluster: one cache and one reflector a resource, and what each change wakes.

Our own objects by kind, the pods, Services and claims that carry our label, all nodes, who else holds chips, and all
storage classes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Any, TypeVar

from holdfast.api import labels
from holdfast.app.kinds import Registration, Wake
from holdfast.app.lean import LeanObjects, LeanPods
from holdfast.app.patience import GATHER_S, patience_s
from holdfast.app.pools import PoolOccupancy
from holdfast.app.strangers import Strangers
from holdfast.cluster.cache import Cache
from holdfast.cluster.expectations import Expectations
from holdfast.cluster.objects import Header, Identity, Key, Kind
from holdfast.cluster.reflector import Reflector, Selection, WatchSettings
from holdfast.planning.observed import Claim, CustomObject, Metadata, Node, Pod, Service, StorageClass
from holdfast.planning.plan import CLAIMS, NODES, PODS, SERVICES, STORAGE_CLASSES, Resource
from holdfast.seams import ApiTransport, Clock, Random, Spawner

T = TypeVar("T")
Child = TypeVar("Child", Service, Claim)

# Selects what is ours.
MANAGED = f"{labels.MANAGED_BY}={labels.MANAGED_BY_VALUE}"
# The pods of others: the resource is the same, what is watched of it is not.
STRANGERS = "strangers"
_BY_JOB, _BY_NODE, _BY_UID = "job", "node", "uid"


def identify(item: Any) -> Identity:
    """Return the identity of any projection that carries `metadata`."""
    meta: Metadata = item.metadata
    return Identity(
        meta.namespace,
        meta.name,
        meta.uid,
        meta.resource_version,
        meta.controller_uid,
        meta.deletion_timestamp is not None,
    )


class Watched:
    """Caches and reflectors. `wake(kind, key)` is called for every object whose plan a change may touch."""

    def __init__(
        self,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        registrations: tuple[Registration, ...],
        wake: Wake,
        *,
        settings: WatchSettings = WatchSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._watch_settings = settings
        self._wake = wake
        self._node_objects: dict[str, Node] = {}
        self._classes: dict[str, StorageClass] = {}
        self.reflectors: dict[Resource, Reflector[Any]] = {}
        self.caches: dict[Resource, Cache[Any]] = {}
        self.registrations = {registration.resource: registration for registration in registrations}
        self.objects: dict[Resource, Cache[CustomObject]] = {
            registration.resource: self._watch(Kind(registration.resource, CustomObject, identify, LeanObjects()))
            for registration in registrations
        }
        self.nodes: Cache[Node] = self._watch(Kind(NODES, Node, identify))
        self.pods: Cache[Pod] = self._watch(
            Kind(PODS, Pod, identify, LeanPods()),
            MANAGED,
            {_BY_JOB: self._owner_names, _BY_NODE: _node_name, _BY_UID: _uid},
        )
        self.services: Cache[Service] = self._watch(
            Kind(SERVICES, Service, identify), MANAGED, {_BY_JOB: self._owner_names}
        )
        self.claims: Cache[Claim] = self._watch(Kind(CLAIMS, Claim, identify), MANAGED, {_BY_JOB: self._owner_names})
        self.storage_classes: Cache[StorageClass] = self._watch(Kind(STORAGE_CLASSES, StorageClass, identify))
        self.pools = PoolOccupancy(self.nodes)
        self.strangers = Strangers(transport, clock, random, self.pools, lambda: wake(None, None), settings)
        self.expectations = Expectations(clock, self.look_up, self.caches)
        self._listen()

    def start(self, spawner: Spawner) -> list[asyncio.Task[None]]:
        """Start every reflector."""
        return [
            spawner.spawn(self.strangers.reflector.run(), name="reflector-strangers"),
            *(
                spawner.spawn(reflector.run(), name=f"reflector-{resource.plural}")
                for resource, reflector in self.reflectors.items()
            ),
        ]

    def followed(self) -> dict[str, tuple[Reflector[Any], Cache[Any]]]:
        """Return every reflector and its cache by a word for what they follow."""
        found = {one.plural: (self.reflectors[one], cache) for one, cache in self.caches.items()}
        return {**found, STRANGERS: (self.strangers.reflector, self.strangers.cache)}

    @property
    def synced(self) -> bool:
        """Say whether every cache has been filled once."""
        return self.strangers.cache.synced and all(cache.synced for cache in self.caches.values())

    @property
    def node_objects(self) -> MappingProxyType[str, Node]:
        """Return every node by name; the view is live and cannot be written."""
        return MappingProxyType(self._node_objects)

    @property
    def classes(self) -> MappingProxyType[str, StorageClass]:
        """Return every storage class by name; the view cannot be written."""
        return MappingProxyType(self._classes)

    def pods_of(self, registration: Registration, key: Key) -> list[Pod]:
        """Return the pods labelled with the object's namespace and name, whoever controls them."""
        return self.pods.by_index(_BY_JOB, _place(registration.resource, key))

    def services_of(self, registration: Registration, key: Key) -> list[Service]:
        """Return the Services labelled with the object's namespace and name."""
        return self.services.by_index(_BY_JOB, _place(registration.resource, key))

    def claims_of(self, registration: Registration, key: Key) -> list[Claim]:
        """Return the claims labelled with the object's namespace and name, whoever controls them."""
        return self.claims.by_index(_BY_JOB, _place(registration.resource, key))

    def pod_by_uid(self, uid: str) -> Pod | None:
        """Return the pod with this UID, None where the cache holds none."""
        found = self.pods.by_index(_BY_UID, uid)
        return found[0] if found else None

    def owners_of(self, item: Pod | Service | Claim | Header) -> Iterator[tuple[Registration, Key]]:
        """Yield the objects that a child is labelled as belonging to."""
        for registration in self.registrations.values():
            if name := item.metadata.labels.get(registration.name_label):
                yield registration, (item.metadata.namespace, name)

    def plan_pools(self, key: Key, pools: Iterable[str]) -> None:
        """Note the node pools that the newest plan of an object takes, and wake those who wait for what it gives up."""
        if self.pools.plan(key, pools):
            self._wake(None, None)

    def look_up(self, resource: Resource, namespace: str, name: str) -> Identity | None:
        """Return who the cache of `resource` holds under this name, None where there is none, or no cache."""
        cache = self.caches.get(resource)
        found = cache.get(namespace, name) if cache is not None else None
        return identify(found) if found is not None else None

    def _watch(self, kind: Kind[T], selector: str = "", indexes: Any = None) -> Cache[T]:
        cache: Cache[T] = Cache(kind.identify, indexes)
        self.caches[kind.resource] = cache
        self.reflectors[kind.resource] = Reflector(
            self._transport,
            self._clock,
            self._random,
            kind,
            cache,
            selection=Selection(selector),
            settings=self._watch_settings,
        )
        return cache

    def _listen(self) -> None:
        for resource, cache in self.objects.items():
            cache.listen(self._object_listener(resource))
        self.pods.listen(self._on_pod)
        self.services.listen(self._child_listener(SERVICES))
        self.claims.listen(self._child_listener(CLAIMS))
        self.storage_classes.listen(self._on_class)
        self.nodes.listen(self._on_node)
        for resource, reflector in self.reflectors.items():
            reflector.on_relist(self._relist_listener(resource))

    def _relist_listener(self, resource: Resource) -> Callable[[float], None]:
        return lambda started_at: self.expectations.relisted(resource, started_at)

    def _object_listener(self, resource: Resource) -> Callable[[CustomObject | None, CustomObject | None], None]:
        def changed(old: CustomObject | None, new: CustomObject | None) -> None:
            item = new or old
            if item is not None:
                uid, seen = item.metadata.uid, identify(item)
                echo = new is not None and self.expectations.is_echo(uid, resource, seen)
                waited = self.expectations.saw(uid, resource, seen, gone=new is None)
                if waited or not echo:
                    self._wake(resource, seen.key)

        return changed

    def _saw_child(self, resource: Resource, child: Pod | Service | Claim, *, gone: bool) -> bool:
        """Tell the owner's expectations, and those of the object that took over the name of a former owner.

        Return whether a pass has waited for this.
        """
        owners = {child.metadata.controller_uid}
        for registration, key in self.owners_of(child):
            if (item := self.objects[registration.resource].get(*key)) is not None:
                owners.add(item.metadata.uid)
        seen = identify(child)
        waited = [self.expectations.saw(owner, resource, seen, gone=gone) for owner in owners]
        return any(waited)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        waited = self._saw_child(PODS, pod, gone=new is None)
        for registration, key in self.owners_of(pod):
            self.pools.saw(key, pod, gone=new is None)
            last = new is None and self.pods.count(_BY_JOB, _place(registration.resource, key)) == 0
            self._wake(registration.resource, key, within_s=patience_s(old, new, waited=waited, last=last))
        if new is None:
            self._wake(None, None)

    def _child_listener(self, resource: Resource) -> Callable[[Child | None, Child | None], None]:
        def changed(old: Child | None, new: Child | None) -> None:
            child = new or old
            if child is None:
                return
            self._saw_child(resource, child, gone=new is None)
            for registration, key in self.owners_of(child):
                self._wake(registration.resource, key, within_s=GATHER_S)

        return changed

    def _on_class(self, old: StorageClass | None, new: StorageClass | None) -> None:
        # Made anew, and not changed: whoever plans at this moment has what it began with.
        self._classes = {item.metadata.name: item for item in self.storage_classes.values()}
        self._wake(None, None)

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        if node is None:
            return
        if new is None:
            self._node_objects.pop(node.metadata.name, None)
        else:
            self._node_objects[node.metadata.name] = new
            self.pools.saw_node(node.metadata.name)
        if old is not None and new is not None and _same_to_plans(old, new):
            return
        for pod in self.pods.by_index(_BY_NODE, node.metadata.name):
            for registration, key in self.owners_of(pod):
                self._wake(registration.resource, key)
        self._wake(None, None)

    def _owner_names(self, item: Pod | Service | Claim) -> Iterator[str]:
        for registration, key in self.owners_of(item):
            yield _place(registration.resource, key)


def _place(resource: Resource, key: Key) -> str:
    return f"{resource.plural}/{key[0]}/{key[1]}"


def _node_name(pod: Pod) -> tuple[str, ...]:
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def _uid(pod: Pod) -> tuple[str, ...]:
    return (pod.metadata.uid,)


def _same_to_plans(old: Node, new: Node) -> bool:
    """Say whether two versions of a node differ in nothing that a plan reads: kubelets refresh much else."""
    return (old.spec, old.status, old.metadata.labels) == (new.spec, new.status, new.metadata.labels)
