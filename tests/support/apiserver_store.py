"""The state of the in-memory API server: objects with resource versions, a history for watches, and deletion.

What is modelled is what the engine relies on: one counter of versions over all resources, optimistic concurrency,
UIDs, generations, finalizers, graceful deletion of pods that only a kubelet can finish, background garbage collection
of dependents, and the whole admission of our own kinds (`apiserver_rules`). Admission and defaulting of the others are
not; `deny` lets a test play them. Nor are foreground deletion and orphaning, which the engine never asks for.
"""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.seams import ApiError, Clock
from tests.support.apiserver_metadata import check_finalizers, check_metadata, check_place, without_empty
from tests.support.apiserver_paths import ResourceInfo
from tests.support.apiserver_rules import Kind, invalid

Document = dict[str, Any]
Place = tuple[ResourceInfo, str, str]

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
# What only the server sets, whatever an update says.
_FIXED = (
    "uid", "creationTimestamp", "namespace", "name", "resourceVersion", "generation", "deletionTimestamp",
    "deletionGracePeriodSeconds",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One entry of the history. `before` is the object's last version, for selectors that it falls out of."""

    version: int
    type: str
    info: ResourceInfo
    document: Document
    before: Document | None
    at: float = 0.0


class Store:
    """Objects by place, and the history since `compacted`. `kinds` are those whose objects are checked."""

    def __init__(self, clock: Clock, kinds: Mapping[ResourceInfo, Kind], *, seed: int = 0) -> None:
        self._clock = clock
        self._kinds = kinds
        self._uids = seed * 1_000_000
        self._owned: defaultdict[str, set[Place]] = defaultdict(set)
        self._present: set[str] = set()
        self._gone: set[str] = set()
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
            raise ApiError(404, "NotFound", f'{info.qualified} "{name}" not found')
        return found

    def create(
        self, info: ResourceInfo, namespace: str, document: Document, *, dry_run: bool = False, strict: bool = False
    ) -> Document:
        kind = self._kinds.get(info)
        document = kind.decode(document, strict=strict) if kind else copy.deepcopy(document)
        metadata = document["metadata"] = without_empty(document.get("metadata", {}))
        check_place(info, namespace, metadata)
        if metadata.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._next_uid()[-5:]}"
        if (refusal := self.deny(info, document)) is not None:
            raise refusal
        self._stamp_new(info, namespace, document)
        check_metadata(info, metadata)
        if kind:
            kind.check(info, document, None)
        if (info, namespace, metadata["name"]) in self.objects:
            raise ApiError(409, "AlreadyExists", f'{info.qualified} "{metadata["name"]}" already exists')
        if dry_run:
            return document
        made = self._commit("ADDED", info, document, None)
        for owner in _owners(made) & self._gone:
            self.orphaned(owner)
        return made

    def update(
        self,
        info: ResourceInfo,
        before: Document,
        after: Document,
        *,
        status: bool,
        dry_run: bool = False,
        strict: bool = False,
    ) -> Document:
        """Replace one object, checking the version that `after` names. An update that changes nothing is none."""
        metadata = before["metadata"]
        asked = after.get("metadata") or {}
        wanted = asked.get("resourceVersion")
        if wanted and wanted != metadata["resourceVersion"]:
            raise _conflict(info, metadata["name"], _MODIFIED)
        if (uid := asked.get("uid") or metadata["uid"]) != metadata["uid"]:
            raise invalid(info, metadata["name"], [f'metadata.uid: Invalid value: "{uid}": field is immutable'])
        if kind := self._kinds.get(info):
            after = kind.decode(after, strict=strict)
        new = self._updated(info, before, after, status=status)
        if new == before or dry_run:
            return new
        released = new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers")
        if released and not new["metadata"].get("deletionGracePeriodSeconds"):
            return self._remove(info, new)
        return self._commit("MODIFIED", info, new, before)

    def delete(
        self,
        info: ResourceInfo,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        version: str | None = None,
        grace_s: int | None = None,
        dry_run: bool = False,
    ) -> tuple[Document, bool]:
        """Delete an object, or mark it. Return it, and whether it is gone at once."""
        document = self.get(info, namespace, name)
        metadata = document["metadata"]
        if uid is not None and uid != metadata["uid"]:
            raise _conflict(info, name, _OTHER_UID.format(uid, metadata["uid"]))
        if version is not None and version != metadata["resourceVersion"]:
            raise _conflict(info, name, _OTHER_VERSION.format(version, metadata["resourceVersion"]))
        grace = _grace(info, document, grace_s)
        if dry_run:
            return document, not (grace or metadata.get("finalizers"))
        if grace or metadata.get("finalizers"):
            return self._mark(info, document, grace, asked=grace_s is not None), False
        return self._remove(info, document), True

    def remove(self, info: ResourceInfo, namespace: str, name: str) -> None:
        """Take an object away as the kubelet (grace over) or another controller would."""
        if (document := self.objects.get((info, namespace, name))) is not None:
            self._remove(info, document)

    def compact(self) -> None:
        """Forget the history: every watch from an older version, and every open list, gets 410."""
        self.history.clear()
        self.compacted = self.version

    def collect(self, owner: str) -> None:
        """Delete the dependents of an object that is gone, as the garbage collector does in the background."""
        for place in sorted(self._owned.get(owner, ()), key=lambda place: place[1:]):
            document = self.objects.get(place)
            if document is not None and not (_owners(document) & self._present):
                self.delete(*place)

    def _stamp_new(self, info: ResourceInfo, namespace: str, document: Document) -> None:
        """Set what only the server sets, whatever the request says."""
        metadata = document["metadata"]
        for key in _FIXED:
            if key != "name":
                metadata.pop(key, None)
        metadata |= {"uid": self._next_uid(), "creationTimestamp": self._stamp()}
        if info.generation:
            metadata["generation"] = 1
        if info.namespaced:
            metadata["namespace"] = namespace
        if info.status and info.plural != "nodes":
            document.pop("status", None)
        if info.plural == "pods":
            document["status"] = {"phase": "Pending"}
        document |= {"apiVersion": info.api_version, "kind": info.kind}

    def _updated(self, info: ResourceInfo, before: Document, after: Document, *, status: bool) -> Document:
        """Return what an update makes of an object, checked. A path writes its own part alone."""
        metadata = before["metadata"]
        if status:
            new = {**before, "status": after.get("status", {})}
        else:
            new = {**after, "metadata": without_empty(after["metadata"])}
            if info.status:
                new.pop("status", None)
                if "status" in before:
                    new["status"] = before["status"]
        fixed = {key: metadata[key] for key in _FIXED if key in metadata}
        new["metadata"] = {key: value for key, value in new["metadata"].items() if key not in _FIXED} | fixed
        new |= {"apiVersion": info.api_version, "kind": info.kind}
        if info.generation and new.get("spec") != before.get("spec"):
            new["metadata"]["generation"] = metadata["generation"] + 1
        check_metadata(info, new["metadata"])
        check_finalizers(info, metadata, new["metadata"])
        if kind := self._kinds.get(info):
            kind.check(info, new, before)
        return new

    def _mark(self, info: ResourceInfo, document: Document, grace: int, *, asked: bool) -> Document:
        """Mark an object as being deleted. A second mark may only shorten the grace of the first."""
        metadata = document["metadata"]
        end = self._clock.now() + timedelta(seconds=grace)
        if metadata.get("deletionTimestamp"):
            held = metadata.get("deletionGracePeriodSeconds", 0)
            if not asked or grace >= held:
                return document
            begun = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(seconds=held)
            end = max(self._clock.now(), begun + timedelta(seconds=grace))
            generation = {}
        else:
            generation = {"generation": metadata["generation"] + 1} if info.generation else {}
        stamps = {"deletionTimestamp": end.strftime(FORMAT), "deletionGracePeriodSeconds": grace}
        return self._commit("MODIFIED", info, {**document, "metadata": {**metadata, **stamps, **generation}}, document)

    def _remove(self, info: ResourceInfo, document: Document) -> Document:
        metadata = document["metadata"]
        place = (info, metadata.get("namespace", ""), metadata["name"])
        held = self.objects.pop(place)
        for owner in _owners(held):
            self._owned[owner].discard(place)
        self._present.discard(metadata["uid"])
        self._gone.add(metadata["uid"])
        gone = self._record("DELETED", info, document, held)
        if self._owned.get(metadata["uid"]):
            self.orphaned(metadata["uid"])
        return gone

    def _commit(self, kind: str, info: ResourceInfo, document: Document, before: Document | None) -> Document:
        metadata = document["metadata"]
        place = (info, metadata.get("namespace", ""), metadata["name"])
        for owner in _owners(before):
            self._owned[owner].discard(place)
        for owner in _owners(document):
            self._owned[owner].add(place)
        self._present.add(metadata["uid"])
        return self._record(kind, info, document, before, place)

    def _record(
        self, kind: str, info: ResourceInfo, document: Document, before: Document | None, place: Place | None = None
    ) -> Document:
        self.version += 1
        # A new dictionary each time: the history holds the old ones.
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        if place is not None:
            self.objects[place] = document
        change = Change(self.version, kind, info, document, before, self._clock.monotonic())
        self.history.append(change)
        for listener in list(self.listeners):
            listener(change)
        return document

    def _next_uid(self) -> str:
        self._uids += 1
        return str(uuid.UUID(int=self._uids))

    def _stamp(self) -> str:
        return self._clock.now().strftime(FORMAT)


_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_OTHER_UID = (
    "the UID in the precondition ({}) does not match the UID in record ({}). "
    "The object might have been deleted and then recreated"
)
_OTHER_VERSION = (
    "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({}). "
    "The object might have been modified"
)


def _conflict(info: ResourceInfo, name: str, text: str) -> ApiError:
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {info.qualified} "{name}": {text}')


def _owners(document: Document | None) -> set[str]:
    """Return the UIDs of an object's owners."""
    return {owner["uid"] for owner in (document or {"metadata": {}})["metadata"].get("ownerReferences", ())}


def _grace(info: ResourceInfo, document: Document, asked: int | None) -> int:
    """Return the grace in seconds. Only a pod that a kubelet holds and that has not ended yet gets one."""
    status, spec = document.get("status") or {}, document.get("spec") or {}
    if info.plural != "pods" or not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    return int(spec.get("terminationGracePeriodSeconds", 30)) if asked is None else asked


def unconditional(info: ResourceInfo, name: str) -> ApiError:
    """Return the refusal of a PUT that does not say which version it replaces."""
    return invalid(info, name, ["metadata.resourceVersion: Invalid value: 0: must be specified for an update"])
