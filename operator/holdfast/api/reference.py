"""The field reference for people, in Markdown, from the same schema that the API server enforces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from holdfast.api.model import LIST_MAP_KEYS, LIST_TYPE, VALIDATIONS

Schema = dict[str, Any]

_BANNER: Final = "<!-- Generated from the models in operator/holdfast/api by `make crds`; do not edit. -->\n"
_LIMITS: Final = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minLength", "{} or more characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "{} or more items"),
    ("maxItems", "at most {} items"),
    ("maxProperties", "at most {} entries"),
    ("pattern", "matches `{}`"),
)


def markdown(definition: dict[str, Any]) -> str:
    """Return the reference of one CustomResourceDefinition."""
    names = definition["spec"]["names"]
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    lines = [
        f"# {names['kind']} (`{definition['spec']['group']}/{version['name']}`)",
        "",
        _BANNER,
        schema["description"],
        "",
        f"Short name `{names['shortNames'][0]}`, category `{names['categories'][0]}`. "
        "`kubectl explain` shows the same text. Fields marked with * are required.",
        "",
    ]
    lines += _rules(schema, names["kind"])
    seen: dict[str, str] = {}
    for section in ("spec", "status"):
        lines += [f"## {section}", "", *_object(section, schema["properties"][section], seen)]
    return "\n".join(lines).rstrip() + "\n"


def _object(path: str, schema: Schema, seen: dict[str, str]) -> Iterator[str]:
    """Yield the table of one object, then those of the objects in it; one that was `seen` is named by its path."""
    required = set(schema.get("required", ()))
    yield "| field | type | default | meaning |"
    yield "|---|---|---|---|"
    opaque = []
    for name, field in schema["properties"].items():
        if _is_opaque(field):
            opaque.append(name)
            continue
        star = "*" if name in required else ""
        meaning = " ".join([field.get("description", ""), _limits(field)]).strip().replace("|", "\\|")
        yield f"| `{name}`{star} | {_type(field)} | {_default(field)} | {meaning} |"
    yield ""
    if opaque:
        yield f"As in the Pod API: {', '.join(f'`{name}`' for name in opaque)}."
        yield ""
    yield from _rules(schema, path)
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        inner_path = f"{path}.{name}{'[]' if 'items' in field else ''}"
        if "properties" in inner:
            yield f"### {inner_path}"
            yield ""
            if "items" in field:
                yield from _rules(field, f"{path}.{name}")
            before = seen.setdefault(json.dumps(inner["properties"]), inner_path)
            if before == inner_path:
                yield from _object(inner_path, inner, seen)
            else:
                yield f"As {before}."
                yield ""
        elif not _is_opaque(field):
            yield from _rules(field, inner_path)


def _is_opaque(field: Schema) -> bool:
    return "type" not in field and "x-kubernetes-int-or-string" not in field


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field["type"] == "array":
        keys = f" by {', '.join(field[LIST_MAP_KEYS])}" if LIST_MAP_KEYS in field else ""
        kind = {"atomic": "list", "set": "set", "map": f"list{keys}"}[field[LIST_TYPE]]
        return f"{kind} of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map to {_type(field['additionalProperties'])}"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if field.get("format") == "date-time":
        return "time"
    return str(field["type"])


def _default(field: Schema) -> str:
    value = field.get("default")
    if value is None or value in ({}, []) or isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _limits(field: Schema) -> str:
    told = [text.format(field[key]) for key, text in _LIMITS if key in field]
    return f"({', '.join(told)})" if told else ""


def _rules(schema: Schema, path: str) -> list[str]:
    """Say what the API server refuses, in the words of the refusal."""
    told = [rule["message"] for rule in schema.get(VALIDATIONS, ())]
    return [f"Rules of `{path}`:", "", *(f"- {message}" for message in told), ""] if told else []
