"""Small pieces that tests of watches share: a kind of small structs, and a reflector on the in-memory API server."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from holdfast.cluster.cache import Cache
from holdfast.cluster.objects import Header, Identity, Kind, Metadata
from holdfast.cluster.reflector import Reflector, WatchSettings
from holdfast.planning.plan import PODS
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_store import Document
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock


class SmallStatus(msgspec.Struct, frozen=True):
    phase: str = ""


class SmallPod(msgspec.Struct, frozen=True):
    metadata: Metadata = Metadata()
    status: SmallStatus = SmallStatus()


def identify(pod: SmallPod) -> Identity:
    return Header(pod.metadata).identity


SMALL_PODS = Kind(PODS, SmallPod, identify)


def pod(name: str, *, owner: str = "", labels: dict[str, str] | None = None, **spec: object) -> Document:
    metadata: Document = {"name": name, "namespace": "ns", "labels": labels or {}}
    if owner:
        metadata["ownerReferences"] = [{"kind": "TrainingJob", "name": "j", "uid": owner, "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@dataclass
class World:
    """An API server, a clock and a reflector of its pods."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    spawner: SeededSpawner = field(default_factory=SeededSpawner)

    def __post_init__(self) -> None:
        self.server = MemoryApiServer(self.clock, self.spawner)
        self.cache: Cache[SmallPod] = Cache(identify)
        self.changes: list[tuple[str, str, str]] = []
        self.cache.listen(self._note)
        self.reflector = Reflector(
            self.server, self.clock, SeededRandom(), SMALL_PODS, self.cache, settings=WatchSettings(page_size=3)
        )

    def start(self) -> None:
        self.spawner.spawn(self.reflector.run(), name="reflector")

    def names(self) -> list[str]:
        return [name for _, name in self.cache.sorted_keys()]

    def truth(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.server.all("pods")]

    def _note(self, old: SmallPod | None, new: SmallPod | None) -> None:
        kind = "added" if old is None else "deleted" if new is None else "modified"
        some = new or old
        assert some is not None
        self.changes.append((kind, some.metadata.name, some.metadata.uid))
