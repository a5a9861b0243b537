"""JSON merge patches (RFC 7396): applying one, and making the one that leads from one document to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def apply_merge(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` applied; neither is changed."""
    if not isinstance(patch, Mapping):
        return patch
    result: dict[str, Any] = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge(result.get(key), value)
    return result


def merge_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the patch that makes `new` of `old`: nulls for what is gone, nothing for what is equal.

    Lists are replaced whole. `new` must hold no None: a merge patch cannot write one, so they count as absent.
    """
    patch: dict[str, Any] = {key: None for key in old if new.get(key) is None and old[key] is not None}
    for key, value in new.items():
        before = old.get(key)
        if value is None or value == before:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_between(before, value)
            if inner:
                patch[key] = inner
        else:
            patch[key] = without_nulls(value)
    return patch


def without_nulls(value: Any) -> Any:
    """Return the value without the keys of mappings that are None, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [without_nulls(inner) for inner in value]
    return value
