"""From a pydantic model to the structural schema that a CRD needs.

Kubernetes wants one flat tree: no references, no titles, no `null` branches, a `type` everywhere, and its own words for
open objects, for values that are integers or strings, and for rules. What cannot be said that way raises
`UnsupportedSchema`, so that a model never means more than its CRD enforces.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from holdfast.api.model import LIST_MAP_KEYS, LIST_TYPE, MAP_TYPE, OPAQUE, PATTERN_MESSAGE, VALIDATIONS

Schema = dict[str, Any]

_INT32: Final = 2**31 - 1
_DROPPED: Final = frozenset({"title", "$defs", OPAQUE, PATTERN_MESSAGE})
_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
# What is carried over, in the order of the file.
_KEPT: Final[tuple[str, ...]] = (
    "description", "type", "format", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "maxProperties", LIST_TYPE, LIST_MAP_KEYS, MAP_TYPE, "required",
)  # fmt: skip
_TRANSLATED: Final = ("properties", "items", "additionalProperties", VALIDATIONS)


class UnsupportedSchema(TypeError):
    """A model uses something that a structural schema cannot say; the message names the place."""


def structural(model: type[BaseModel]) -> Schema:
    """Return the model's structural schema."""
    whole = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(whole, whole.get("$defs", {}), model.__name__)


def _convert(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    node = dict(_without_null(_inlined(node, definitions), definitions))
    if "anyOf" in node:
        return _int_or_string(node, path)
    _check(node, path)
    if node["type"] == "integer":
        node["format"] = "int32" if node.get("maximum", _INT32 + 1) <= _INT32 else "int64"
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    result = {key: node[key] for key in _KEPT if key in node}
    if "default" in node:
        result["default"] = _without_none(node["default"])
    if PATTERN_MESSAGE in node:
        del result["pattern"]
    if "items" in node:
        result["items"] = _convert(node["items"], definitions, f"{path}[]")
    if "properties" in node:
        children = node["properties"].items()
        result["properties"] = {name: _convert(child, definitions, f"{path}.{name}") for name, child in children}
        result["properties"] |= {name: _opaque() for name in node.get(OPAQUE, ())}
    more = node.get("additionalProperties")
    if more is True:
        result[_PRESERVE] = True
    elif isinstance(more, dict):
        result["additionalProperties"] = _convert(more, definitions, f"{path}.*")
    if rules := _rules(node):
        result[VALIDATIONS] = rules
    return result


def _without_none(default: Any) -> Any:
    """Leave out what a default does not set: in Kubernetes that is said by absence."""
    if isinstance(default, dict):
        return {key: _without_none(value) for key, value in default.items() if value is not None}
    return default


def _opaque() -> Schema:
    return {"description": "As in the Pod API.", _PRESERVE: True}


def _check(node: Schema, path: str) -> None:
    unknown = node.keys() - set(_KEPT) - set(_TRANSLATED) - _DROPPED
    if unknown:
        raise UnsupportedSchema(f"{path}: a structural schema has no {', '.join(sorted(unknown))}")
    if "type" not in node:
        raise UnsupportedSchema(f"{path}: no type")
    if node["type"] == "array" and LIST_TYPE not in node:
        raise UnsupportedSchema(f"{path}: a list needs a list type")


def _rules(node: Schema) -> list[Schema]:
    """Return the rules, led by the pattern where it has a message of its own."""
    own: list[Schema] = list(node.get(VALIDATIONS, ()))
    if PATTERN_MESSAGE not in node:
        return own
    return [{"rule": f"self.matches(r'{node['pattern']}')", "message": node[PATTERN_MESSAGE]}, *own]


def _inlined(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Replace a reference by what it names; what stands beside the reference wins, and rules are joined."""
    if "$ref" not in node:
        return node
    target = _inlined(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    beside = {key: value for key, value in node.items() if key != "$ref"}
    joined = {**target, **beside}
    if VALIDATIONS in target and VALIDATIONS in beside:
        joined[VALIDATIONS] = [*target[VALIDATIONS], *beside[VALIDATIONS]]
    return joined


def _without_null(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Turn `X or null` into X: a field that is not set is left out in Kubernetes."""
    branches = [branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    if rest.get("default", ...) is None:
        del rest["default"]
    if not branches:
        return rest
    if len(branches) > 1:
        return {**rest, "anyOf": branches}
    return _inlined({**_inlined(branches[0], definitions), **rest}, definitions)


def _int_or_string(node: Schema, path: str) -> Schema:
    if sorted(branch.get("type", "") for branch in node["anyOf"]) != ["integer", "string"]:
        raise UnsupportedSchema(f"{path}: only integer or string can be chosen from, not {node['anyOf']}")
    return {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }
