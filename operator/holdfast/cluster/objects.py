"""Who an object is: the few facts that caches, expectations and the client need of any object, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import msgspec

from holdfast.planning.plan import Resource

T = TypeVar("T")

# Namespace and name; the namespace of cluster-scoped objects is empty.
Key = tuple[str, str]


class Identity(NamedTuple):
    """The identity of one version of one object. `owner_uid` is its controller's UID, empty where it has none."""

    namespace: str
    name: str
    uid: str
    version: str
    owner_uid: str = ""
    deleting: bool = False

    @property
    def key(self) -> Key:
        """Return namespace and name."""
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A resource, the struct its JSON is decoded into (unknown fields are dropped), and how to tell its identity.

    `lean` returns an equal struct that takes less memory, where many objects are held.
    """

    resource: Resource
    struct: type[T]
    identify: Callable[[T], Identity]
    lean: Callable[[T], T] | None = None


class OwnerReference(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The part of an owner reference that says who controls the object."""

    uid: str = ""
    controller: bool | None = None


class Metadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The part of `metadata` that every object has."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    labels: dict[str, str] = {}


class Header(msgspec.Struct, frozen=True, gc=False):
    """Any object, seen as its metadata only."""

    metadata: Metadata = Metadata()

    @property
    def identity(self) -> Identity:
        """Return who this is."""
        meta = self.metadata
        return Identity(
            meta.namespace,
            meta.name,
            meta.uid,
            meta.resource_version,
            next((owner.uid for owner in meta.owner_references if owner.controller), ""),
            meta.deletion_timestamp is not None,
        )


_header = msgspec.json.Decoder(Header)


def header_of(payload: bytes | msgspec.Raw) -> Header:
    """Decode only the metadata. Raises `msgspec.ValidationError` or `DecodeError` where even that is odd."""
    return _header.decode(payload)


def version_number(version: str) -> int:
    """Return a resource version as a number, -1 where it is none.

    Versions of objects of one resource are comparable as decimal numbers (the API server promises it since 1.35, and
    has done so with etcd always).
    """
    return int(version) if version.isdigit() else -1


def reached(version: str, wanted: str) -> bool:
    """Say whether a resource version is `wanted` or newer; where one is no number, whether they are the same."""
    seen, target = version_number(version), version_number(wanted)
    return version == wanted if seen < 0 or target < 0 else seen >= target
