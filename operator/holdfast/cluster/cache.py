"""The objects of one kind as last seen, with indexes, and the calls that tell others about each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from holdfast.cluster.objects import Identity, Key, version_number

T = TypeVar("T")

# Called with (old, new): old is None for an addition, new is None for a deletion.
Listener = Callable[[T | None, T | None], None]
IndexFunction = Callable[[T], Iterable[str]]

OWNER = "owner"


class Cache(Generic[T]):
    """Keyed by namespace and name, indexed by the controller's UID and by further functions.

    Only its reflector writes to it. Reads return the structs themselves, which are frozen. Listeners run at once, in
    the order they were added, and must not raise.
    """

    def __init__(
        self, identify: Callable[[T], Identity], indexes: Mapping[str, IndexFunction[T]] | None = None
    ) -> None:
        self.identify = identify
        self._objects: dict[Key, T] = {}
        self._indexes: dict[str, IndexFunction[T]] = {OWNER: self._owners, **(indexes or {})}
        # A value that one object has alone, such as its UID, costs no dictionary of its own.
        self._indexed: dict[str, dict[str, Key | dict[Key, None]]] = {name: {} for name in self._indexes}
        self._listeners: list[Listener[T]] = []
        self.synced = False

    def __len__(self) -> int:
        return len(self._objects)

    def listen(self, listener: Listener[T]) -> None:
        """Call `listener(old, new)` after every change from now on."""
        self._listeners.append(listener)

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object, or None."""
        return self._objects.get((namespace, name))

    def sorted_keys(self) -> list[Key]:
        """Return every key."""
        return sorted(self._objects)

    def values(self) -> list[T]:
        """Return every object, sorted by key."""
        return [self._objects[key] for key in sorted(self._objects)]

    def unsorted(self) -> list[T]:
        """Return every object in no order, for what is counted often."""
        return list(self._objects.values())

    def owned_by(self, uid: str) -> list[T]:
        """Return the objects whose controller has this UID, sorted by key."""
        return self.by_index(OWNER, uid)

    def by_index(self, index: str, value: str) -> list[T]:
        """Return the objects for which the index function named `index` gave `value`, sorted by key."""
        held = self._indexed[index].get(value, {})
        return [self._objects[key] for key in (sorted(held) if isinstance(held, dict) else (held,))]

    def count(self, index: str, value: str) -> int:
        """Return for how many objects the index function named `index` gave `value`."""
        held = self._indexed[index].get(value, {})
        return len(held) if isinstance(held, dict) else 1

    def upsert(self, new: T) -> bool:
        """Take in an object. Return False where the cache holds the same or a newer version of it already."""
        identity = self.identify(new)
        key = identity.key
        old = self._objects.get(key)
        if old is not None:
            before = self.identify(old)
            if before.uid == identity.uid and not _is_newer(identity.version, before.version):
                return False
        self._objects[key] = new
        self._index(key, old, new)
        self._tell(old, new)
        return True

    def remove(self, key: Key) -> T | None:
        """Forget an object and return it."""
        old = self._objects.pop(key, None)
        if old is not None:
            self._index(key, old, None)
            self._tell(old, None)
        return old

    def replace(self, objects: Iterable[T], *, keep: Iterable[Key] = ()) -> None:
        """Take in a complete list: what is not in it was deleted while nobody watched, except the keys in `keep`.

        Deletions are told before additions, so that an object of the same name that was deleted and created anew
        (another UID) is seen as both.
        """
        fresh = {self.identify(item).key: item for item in objects}
        kept = set(keep)
        for key in sorted(self._objects):
            new = fresh.get(key)
            if new is None and key in kept:
                continue
            if new is None or self.identify(new).uid != self.identify(self._objects[key]).uid:
                self.remove(key)
        for item in fresh.values():
            self.upsert(item)
        self.synced = True

    def _owners(self, item: T) -> Iterable[str]:
        owner = self.identify(item).owner_uid
        return (owner,) if owner else ()

    def _index(self, key: Key, old: T | None, new: T | None) -> None:
        """Bring the indexes from one version to the next; most changes touch none."""
        for name, function in self._indexes.items():
            before = () if old is None else tuple(function(old))
            after = () if new is None else tuple(function(new))
            if before == after:
                continue
            indexed = self._indexed[name]
            for value in before:
                held = indexed.get(value)
                if isinstance(held, dict):
                    held.pop(key, None)
                if held in (key, {}):
                    del indexed[value]
            for value in after:
                held = indexed.setdefault(value, key)
                if isinstance(held, dict):
                    held[key] = None
                elif held != key:
                    indexed[value] = {held: None, key: None}

    def _tell(self, old: T | None, new: T | None) -> None:
        for listener in self._listeners:
            listener(old, new)


def _is_newer(version: str, than: str) -> bool:
    new, old = version_number(version), version_number(than)
    return version != than if new < 0 or old < 0 else new > old
