"""The state of the in-memory API server: objects with resource versions, a history for watches, and deletion.

What is modelled is what the engine relies on: one counter of versions over all resources, optimistic concurrency,
UIDs, generations, finalizers, graceful deletion of pods that only a kubelet can finish, and garbage collection of
dependents. Admission, defaulting and validation are not; `deny` lets a test play them.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.seams import ApiError, Clock
from tests.support.apiserver_paths import ResourceInfo

Document = dict[str, Any]
Place = tuple[ResourceInfo, str, str]


@dataclass(frozen=True)
class Change:
    """One entry of the history. `before` is the object's last version, for selectors that it falls out of."""

    version: int
    type: str
    info: ResourceInfo
    document: Document
    before: Document | None


class Store:
    """Objects by place, and the history since `compacted`."""

    def __init__(self, clock: Clock, *, seed: int = 0) -> None:
        self._clock = clock
        self._uids = seed * 1_000_000
        self.objects: dict[Place, Document] = {}
        self.history: list[Change] = []
        self.version = 100
        self.compacted = 0
        self.listeners: list[Callable[[Change], None]] = []
        self.orphaned: Callable[[str], None] = self.collect
        self.deny: Callable[[ResourceInfo, Document], ApiError | None] = lambda info, document: None

    def get(self, info: ResourceInfo, namespace: str, name: str) -> Document:
        found = self.objects.get((info, namespace, name))
        if found is None:
            raise ApiError(404, "NotFound", f'{info.plural} "{name}" not found')
        return found

    def create(self, info: ResourceInfo, namespace: str, document: Document, *, dry_run: bool = False) -> Document:
        document = copy.deepcopy(document)
        metadata = document.setdefault("metadata", {})
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._next_uid()[-5:]}"
        name = metadata["name"]
        if (refusal := self.deny(info, document)) is not None:
            raise refusal
        if (info, namespace, name) in self.objects:
            raise ApiError(409, "AlreadyExists", f'{info.plural} "{name}" already exists')
        if info.status and info.plural != "nodes":
            document.pop("status", None)
        document |= {"apiVersion": info.api_version, "kind": info.kind}
        metadata |= {
            "uid": metadata.get("uid") or self._next_uid(),
            "creationTimestamp": self._stamp(),
            "generation": 1,
        }
        if info.namespaced:
            metadata["namespace"] = namespace
        if info.plural == "pods":
            document["status"] = {"phase": "Pending"}
        if dry_run:
            return document
        return self._commit("ADDED", info, document, None)

    def update(self, info: ResourceInfo, before: Document, after: Document, *, status: bool) -> Document:
        """Replace one object, checking the version that `after` names. An update that changes nothing is none."""
        metadata = before["metadata"]
        wanted = after.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != metadata["resourceVersion"]:
            raise ApiError(409, "Conflict", f'{info.plural} "{metadata["name"]}": the object has been modified')
        if status:
            new = {**before, "status": after.get("status", {})}
        else:
            new = {**after, "metadata": {**after["metadata"]}}
            if info.status:
                new.pop("status", None)
                if "status" in before:
                    new["status"] = before["status"]
            if new.get("spec") != before.get("spec"):
                new["metadata"]["generation"] = metadata.get("generation", 1) + 1
        for key in ("uid", "creationTimestamp", "namespace", "name", "resourceVersion", "deletionTimestamp"):
            if key in metadata:
                new["metadata"][key] = metadata[key]
        if new == before:
            return before
        released = new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers")
        if released and info.plural != "pods":
            return self._remove(info, new)
        return self._commit("MODIFIED", info, new, before)

    def delete(
        self,
        info: ResourceInfo,
        namespace: str,
        name: str,
        *,
        uid: str | None,
        grace_s: int | None,
        version: str | None = None,
    ) -> Document:
        document = self.get(info, namespace, name)
        metadata = document["metadata"]
        if uid is not None and uid != metadata["uid"]:
            raise ApiError(409, "Conflict", f"Precondition failed: UID in precondition: {uid}")
        if version is not None and version != metadata["resourceVersion"]:
            raise ApiError(409, "Conflict", f"Precondition failed: ResourceVersion in precondition: {version}")
        if info.plural == "pods" and document.get("spec", {}).get("nodeName"):
            spec_grace = document.get("spec", {}).get("terminationGracePeriodSeconds", 30)
            grace = spec_grace if grace_s is None else grace_s
            if grace > 0:
                return self._mark(info, document, grace)
        if metadata.get("finalizers"):
            return self._mark(info, document, 0)
        return self._remove(info, document)

    def remove(self, info: ResourceInfo, namespace: str, name: str) -> None:
        """Take an object away as the kubelet (grace over) or another controller would."""
        if (document := self.objects.get((info, namespace, name))) is not None:
            self._remove(info, document)

    def compact(self) -> None:
        """Forget the history: every watch from an older version, and every open list, gets 410."""
        self.history.clear()
        self.compacted = self.version

    def _mark(self, info: ResourceInfo, document: Document, grace: int) -> Document:
        metadata = document["metadata"]
        held = metadata.get("deletionGracePeriodSeconds")
        if metadata.get("deletionTimestamp") and (held is None or held <= grace):
            return document
        marked = {
            **document,
            "metadata": {**metadata, "deletionTimestamp": self._stamp(), "deletionGracePeriodSeconds": grace},
        }
        return self._commit("MODIFIED", info, marked, document)

    def _remove(self, info: ResourceInfo, document: Document) -> Document:
        metadata = document["metadata"]
        del self.objects[(info, metadata.get("namespace", ""), metadata["name"])]
        gone = self._record("DELETED", info, document, document)
        self.orphaned(metadata["uid"])
        return gone

    def collect(self, owner: str) -> None:
        """Delete the dependents of an object that is gone, as the garbage collector does in the background."""
        for (info, namespace, name), document in list(self.objects.items()):
            owners = document["metadata"].get("ownerReferences", [])
            if owners and all(reference["uid"] == owner for reference in owners):
                self.delete(info, namespace, name, uid=None, grace_s=None)

    def _commit(self, kind: str, info: ResourceInfo, document: Document, before: Document | None) -> Document:
        metadata = document["metadata"]
        place = (info, metadata.get("namespace", ""), metadata["name"])
        return self._record(kind, info, document, before, place)

    def _record(
        self, kind: str, info: ResourceInfo, document: Document, before: Document | None, place: Place | None = None
    ) -> Document:
        self.version += 1
        # A new dictionary each time: the history holds the old ones.
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        if place is not None:
            self.objects[place] = document
        change = Change(self.version, kind, info, document, before)
        self.history.append(change)
        for listener in list(self.listeners):
            listener(change)
        return document

    def _next_uid(self) -> str:
        self._uids += 1
        return str(uuid.UUID(int=self._uids))

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
