"""JSON merge patches (RFC 7396), and documents without nulls, which such a patch cannot write."""

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


def without_nulls(value: Any) -> Any:
    """Return the value without the keys of mappings that are None, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [without_nulls(inner) for inner in value]
    return value
