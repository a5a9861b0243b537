"""What a CRD's structural schema does to an object: unknown fields pruned, defaults filled in, the rest validated.

Modelled on the API server: messages have its words, and what an update leaves as it was is not validated again
(ratcheting). Every keyword that `crds/` uses is here; one that is not stops the server at its start.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

Node = dict[str, Any]
MISSING: Final = object()

KEYWORDS: Final = frozenset({
    "description", "type", "format", "properties", "required", "items", "additionalProperties", "default", "enum",
    "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "anyOf",
    "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations",
})  # fmt: skip
_JSON_TYPES: Final = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": float}


def check_keywords(node: Node, path: str = "") -> None:
    """Raise ValueError where the schema uses what is not modelled here."""
    if unknown := sorted(node.keys() - KEYWORDS):
        raise ValueError(f"the in-memory API server does not know {unknown} at {path or 'the root'}: model it")
    for name, child in children(node):
        check_keywords(child, f"{path}.{name}")


def children(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield the schemas directly below, by name; `[]` for items and `{}` for additional properties."""
    yield from node.get("properties", {}).items()
    if "items" in node:
        yield "[]", node["items"]
    if "additionalProperties" in node:
        yield "{}", node["additionalProperties"]


def below(node: Node, value: Any, old: Any, path: str) -> Iterator[tuple[Node, Any, Any, str]]:
    """Yield (schema, value, old value or MISSING, path) of everything directly below `value` that has a schema.

    Items of a list correspond to those of an update's old list only where the list is a map.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if child := child_of(node, key):
                named = key in node.get("properties", {})
                where = f"{path}.{key}" if named else f"{path}[{key}]"
                yield child, inner, old.get(key, MISSING) if isinstance(old, dict) else MISSING, where.lstrip(".")
    elif isinstance(value, list) and "items" in node:
        keys = node.get("x-kubernetes-list-map-keys", ())
        held = {_map_key(item, keys): item for item in old} if keys and isinstance(old, list) else {}
        for index, item in enumerate(value):
            yield node["items"], item, held.get(_map_key(item, keys), MISSING), f"{path}[{index}]"


def child_of(node: Node, key: str) -> Node | None:
    """Return the schema of a property, None where there is none."""
    found: Node | None = node.get("properties", {}).get(key) or node.get("additionalProperties")
    return found


def prune(node: Node, value: Any, path: str = "") -> list[str]:
    """Take away what the schema does not know. Return the paths of what was taken."""
    taken: list[str] = []
    if isinstance(value, dict):
        for key in list(value):
            if child_of(node, key) is not None or node.get("x-kubernetes-preserve-unknown-fields"):
                continue
            if path == "" and key in ("apiVersion", "kind", "metadata"):
                continue
            del value[key]
            taken.append(f"{path}.{key}".lstrip("."))
    for child, inner, _, where in below(node, value, MISSING, path):
        if where != "metadata":
            taken += prune(child, inner, where)
    return taken


def fill_in(node: Node, value: Any) -> None:
    """Fill in defaults, from the outside to the inside; a null where there is a default counts as missing."""
    if isinstance(value, dict):
        for key, child in node.get("properties", {}).items():
            if "default" in child and value.get(key) is None:
                value[key] = copy.deepcopy(child["default"])
    for child, inner, _, _ in below(node, value, MISSING, ""):
        fill_in(child, inner)


def problems(node: Node, value: Any, old: Any, path: str = "") -> Iterator[str]:
    """Yield what is wrong, in the API server's words."""
    if old is not MISSING and old == value:
        return
    if wrong := _wrong_type(node, value, path):
        yield wrong
        return
    if "enum" in node and value not in node["enum"]:
        supported = ", ".join(f'"{one}"' for one in node["enum"])
        yield f"{path}: Unsupported value: {_shown(value)}: supported values: {supported}"
    if isinstance(value, str):
        yield from _wrong_text(node, value, path)
    elif isinstance(value, dict):
        for key in node.get("required", ()):
            if key not in value:
                yield f"{path}.{key}: Required value".lstrip(".")
        yield from _wrong_count(len(value), path, most=node.get("maxProperties"))
    elif isinstance(value, list):
        yield from _wrong_count(len(value), path, least=node.get("minItems"), most=node.get("maxItems"))
        yield from _doubles(node, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _wrong_number(node, value, path)
    for child, inner, before, where in below(node, value, old, path):
        if where != "metadata":
            yield from problems(child, inner, before, where)


def _wrong_type(node: Node, value: Any, path: str) -> str:
    if node.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, (int, str)) and not isinstance(value, bool)
    elif (kind := node.get("type")) is None:
        fits = True
    elif kind in ("integer", "number"):
        fits = isinstance(value, (int, float) if kind == "number" else int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, _JSON_TYPES[kind])
    if fits:
        return ""
    held = "null" if value is None else next(name for name, type_ in _JSON_TYPES.items() if isinstance(value, type_))
    return f'{path}: Invalid value: "{held}": {path} in body must be of type {node.get("type")}: "{held}"'


def _wrong_text(node: Node, value: str, path: str) -> Iterator[str]:
    if len(value) > node.get("maxLength", len(value)):
        yield f"{path}: Too long: may not be more than {node['maxLength']} bytes"
    what = f"{path}: Invalid value: {_shown(value)}: {path} in body"
    if len(value) < node.get("minLength", 0):
        yield f"{what} should be at least {node['minLength']} chars long"
    if "pattern" in node and not re.search(node["pattern"], value):
        yield f"{what} should match '{node['pattern']}'"
    if node.get("format") == "date-time" and not _is_time(value):
        yield f"{what} must be of type date-time: {_shown(value)}"


def _wrong_number(node: Node, value: float, path: str) -> Iterator[str]:
    if value < node.get("minimum", value):
        yield f"{path}: Invalid value: {value}: {path} in body should be greater than or equal to {node['minimum']}"
    if value > node.get("maximum", value):
        yield f"{path}: Invalid value: {value}: {path} in body should be less than or equal to {node['maximum']}"


def _wrong_count(count: int, path: str, *, least: int | None = None, most: int | None = None) -> Iterator[str]:
    if most is not None and count > most:
        yield f"{path}: Too many: {count}: must have at most {most} items"
    if least is not None and count < least:
        yield f"{path}: Invalid value: {count}: {path} in body should have at least {least} items"


def _doubles(node: Node, value: list[Any], path: str) -> Iterator[str]:
    keys = node.get("x-kubernetes-list-map-keys", ())
    if not keys and node.get("x-kubernetes-list-type") != "set":
        return
    seen = set()
    for index, item in enumerate(value):
        key = _map_key(item, keys) if keys else repr(item)
        if key in seen:
            yield f"{path}[{index}]: Duplicate value: {_shown(key)}"
        seen.add(key)


def _map_key(item: Any, keys: tuple[str, ...]) -> str:
    return repr([item.get(key) for key in keys]) if isinstance(item, dict) else repr(item)


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None and "T" in value
    except ValueError:
        return False


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
