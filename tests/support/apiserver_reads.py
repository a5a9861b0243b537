"""Gets and lists of the in-memory API server: pages, and which version of the world is answered from.

Without `resourceVersion` a read is consistent. With "0" any version will do, with another one that or a newer one:
such reads are answered from a cache, which may lag (`Faults.lag_reads`), and an uncached list knows no pages. With
`resourceVersionMatch=Exact` it is exactly that version, 410 where it is compacted. A list may be asked for as metadata
only, by its `Accept` header.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import orjson

from holdfast.seams import ApiError, Clock
from tests.support.apiserver_faults import Faults
from tests.support.apiserver_paths import ResourceInfo, Target
from tests.support.apiserver_selectors import selector_of
from tests.support.apiserver_store import Document, Place, Store

LISTS_REMEMBERED = 4
_METADATA_ONLY = re.compile(r"\s*application/json;\s*as=PartialObjectMetadataList;\s*g=meta\.k8s\.io;\s*v=v1\s*(,|$)")

_ONE_METADATA_ONLY = re.compile(r"\s*application/json;\s*as=PartialObjectMetadata;\s*g=meta\.k8s\.io;\s*v=v1\s*(,|$)")

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)


class Reads:
    """Answers GET requests."""

    def __init__(self, store: Store, faults: Faults, clock: Clock) -> None:
        self._store = store
        self._faults = faults
        self._clock = clock
        # What the pages of the newest lists are cut from.
        self._selected: dict[tuple[int, Target, str, str], list[tuple[str, Document]]] = {}

    def answer(self, target: Target, query: Mapping[str, str], accept: str = "") -> Document:
        """Return one object or a list."""
        if target.name is None:
            listed = self._list(target, query)
            return _metadata_only(listed) if _METADATA_ONLY.match(accept) else listed
        version = self._version(query.get("resourceVersion", ""), "")
        if version == self._store.version:
            return self._store.get(target.info, target.namespace or "", target.name)
        found = self.at(version).get((target.info, target.namespace or "", target.name))
        if found is None:
            raise ApiError(404, "NotFound", f'{target.info.qualified} "{target.name}" not found')
        return found

    def whole(self, target: Target, query: Mapping[str, str]) -> list[Document]:
        """Return every object that the path and the selectors are about, as it is now."""
        return [document for _, document in self._select(target, query, self._store.version)]

    def at(self, version: int) -> dict[Place, Document]:
        """Return all objects as they were at a version that is not compacted."""
        objects = dict(self._store.objects)
        for change in reversed(self._store.history):
            if change.version <= version:
                break
            metadata = change.document["metadata"]
            place = (change.info, metadata.get("namespace", ""), metadata["name"])
            if change.before is None:
                objects.pop(place, None)
            else:
                objects[place] = change.before
        return objects

    def _list(self, target: Target, query: Mapping[str, str]) -> Document:
        info, limit, start = target.info, int(query.get("limit", "0")), ""
        if token := query.get("continue"):
            if query.get("resourceVersion"):
                raise ApiError(400, "BadRequest", "specifying resource version is not allowed when using continue")
            version, start = _read_token(token)
            if version < self._store.compacted:
                raise ApiError(410, "Expired", _TOO_OLD)
        else:
            version = self._version(query.get("resourceVersion", ""), query.get("resourceVersionMatch", ""))
            if query.get("resourceVersion") == "0":
                limit = 0
        whole = self._select(target, query, version)
        found = whole[bisect_left(whole, start, key=lambda entry: entry[0]) :]
        metadata: Document = {"resourceVersion": str(version)}
        if limit and len(found) > limit:
            metadata["continue"] = _token(version, f"{found[limit - 1][0]}\0")
            metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        items = [one if info.custom else _bare(one) for _, one in found]
        return {"kind": f"{info.kind}List", "apiVersion": info.api_version, "metadata": metadata, "items": items}

    def _select(self, target: Target, query: Mapping[str, str], version: int) -> list[tuple[str, Document]]:
        """Return what a list is about with the keys that etcd has for it, in their order."""
        asked = (version, target, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if asked not in self._selected:
            while len(self._selected) >= LISTS_REMEMBERED:
                del self._selected[next(iter(self._selected))]
            selects = selector_of(target.info, query)
            objects = self._store.objects if version == self._store.version else self.at(version)
            found = [
                (key_of(info, namespace, name), document)
                for (info, namespace, name), document in objects.items()
                if info is target.info and target.namespace in (None, namespace) and selects(document)
            ]
            self._selected[asked] = sorted(found, key=lambda entry: entry[0])
        return self._selected[asked]

    def _version(self, asked: str, match: str) -> int:
        """Return the version that a read is answered from."""
        newest = self._store.version
        if not asked:
            return newest
        if not asked.isdigit():
            raise ApiError(400, "BadRequest", f'invalid resource version "{asked}"')
        version = int(asked)
        if version > newest:
            text = f"Too large resource version: {version}, current: {newest}"
            raise ApiError(504, "Timeout", text, retry_after_s=1.0)
        if match == "Exact":
            if version < self._store.compacted:
                raise ApiError(410, "Expired", f"The resourceVersion for the provided list is too old: {version}")
            return version
        return max(version, self._lagging())

    def _lagging(self) -> int:
        """Return the version that a cache which lags shows now."""
        shown_until = self._clock.monotonic() - self._faults.read_lag_s
        late = [change.version for change in self._store.history if change.at > shown_until]
        if not self._faults.read_lag_s or not late:
            return self._store.version
        return max(self._store.compacted, min(late) - 1)


def key_of(info: ResourceInfo, namespace: str, name: str) -> str:
    """Return an object's key below that of its resource, as etcd orders them."""
    return f"{namespace}/{name}" if info.namespaced else name


def _bare(document: Document) -> Document:
    """Return an item as lists of the built-in kinds hold it."""
    return {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}


def _metadata_only(listed: Document) -> Document:
    """Return a list without anything but the metadata of its items; the real server writes none at all as null."""
    kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    items = [{**kind, "metadata": one["metadata"]} for one in listed["items"]]
    return {**listed, "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": items or None}


def answered(document: Document, accept: str) -> Document:
    """Return the answer to a change: the object as it is now, or nothing but its metadata where that is asked for."""
    if not _ONE_METADATA_ONLY.match(accept) or document.get("kind") == "Status":
        return document
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": document["metadata"]}


def _token(version: int, start: str) -> str:
    text = orjson.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        held: Any = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(held["rv"]), str(held["start"])
    except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ApiError(400, "BadRequest", f"continue key is not valid: {error}") from error
