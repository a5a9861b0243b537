"""What the API server demands of `metadata`, whatever the kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from holdfast.seams import ApiError
from tests.support.apiserver_paths import ResourceInfo
from tests.support.apiserver_rules import invalid

Document = dict[str, Any]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

# What the server leaves out of its answers when it is empty.
_OMITTED = ("labels", "annotations", "finalizers", "ownerReferences", "generateName")


def check_place(info: ResourceInfo, namespace: str, metadata: Document) -> None:
    """Raise `ApiError` 400 where the object names another namespace than the request."""
    if info.namespaced and metadata.get("namespace", namespace) != namespace:
        raise ApiError(
            400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_metadata(info: ResourceInfo, metadata: Document) -> None:
    """Raise `ApiError` 422 for names and labels that cannot be."""
    if found := list(_problems(info, metadata)):
        raise invalid(info, metadata.get("name", ""), found)


def check_finalizers(info: ResourceInfo, before: Document, after: Document) -> None:
    """Raise `ApiError` 422 where a finalizer is added to an object that is being deleted."""
    added = set(after.get("finalizers") or ()) - set(before.get("finalizers") or ())
    if before.get("deletionTimestamp") and added:
        named = ", ".join(f'"{one}"' for one in sorted(added))
        text = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers"
        raise invalid(info, before["name"], [f"metadata.finalizers: {text} []string{{{named}}}"])


def without_empty(metadata: Document) -> Document:
    """Return the metadata as the server keeps it."""
    return {key: value for key, value in metadata.items() if value or key not in _OMITTED}


def _problems(info: ResourceInfo, metadata: Document) -> Iterator[str]:
    name = metadata.get("name", "")
    pattern, what = (_LABEL, "DNS-1035 label") if info.plural == "services" else (_SUBDOMAIN, "RFC 1123 subdomain")
    if not name:
        yield "metadata.name: Required value: name or generateName is required"
    elif not pattern.fullmatch(name):
        yield f'metadata.name: Invalid value: "{name}": a lowercase {what} must consist of lower case alphanumeric'
    for value in (metadata.get("labels") or {}).values():
        if len(value) > 63:
            yield f'metadata.labels: Invalid value: "{value}": must be no more than 63 bytes'
        elif not _VALUE.fullmatch(value):
            yield f'metadata.labels: Invalid value: "{value}": a valid label must be an empty string or consist of'
