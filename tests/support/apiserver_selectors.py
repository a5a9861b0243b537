"""Label and field selectors as the API server reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.seams import ApiError
from tests.support.apiserver_paths import ResourceInfo

Document = dict[str, Any]
Selects = Callable[[Document], bool]
_Matches = Callable[[Mapping[str, str]], bool]

_SET = re.compile(r"(?P<key>[^\s!=(),]+)\s+(?P<verb>in|notin)\s+\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s!=(),]+)\s*(?P<verb>==|=|!=)\s*(?P<value>[^\s!=(),]*)")
_EXISTS = re.compile(r"(?P<no>!?)\s*(?P<key>[^\s!=(),]+)")


def selector_of(info: ResourceInfo, query: Mapping[str, str]) -> Selects:
    """Return the test that a request's selectors make. Raises `ApiError` 400 for one that cannot be read."""
    by_label = [_label_term(term) for term in _terms(query.get("labelSelector", ""))]
    by_field = [_field_term(info, term) for term in _terms(query.get("fieldSelector", ""))]

    def selects(document: Document) -> bool:
        labels = document["metadata"].get("labels") or {}
        return all(matches(labels) for matches in by_label) and all(matches(document) for matches in by_field)

    return selects


def _terms(selector: str) -> list[str]:
    """Split at commas outside of parentheses."""
    return [term.strip() for term in re.split(r",(?![^()]*\))", selector) if term.strip()]


def _label_term(term: str) -> _Matches:
    if found := _SET.fullmatch(term):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["verb"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.fullmatch(term):
        key, value = found["key"], found["value"]
        if found["verb"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.fullmatch(term):
        key, wanted = found["key"], not found["no"]
        return lambda labels: (key in labels) is wanted
    raise ApiError(400, "BadRequest", f"unable to parse requirement: {term!r}")


def _field_term(info: ResourceInfo, term: str) -> Callable[[Document], bool]:
    found = _EQUAL.fullmatch(term)
    if found is None:
        raise ApiError(400, "BadRequest", f"invalid selector: {term!r}")
    known = {"metadata.name", "metadata.namespace"}
    if info.plural == "pods":
        known |= {"spec.nodeName", "status.phase"}
    if found["key"] not in known:
        raise ApiError(400, "BadRequest", f"field label not supported: {found['key']}")
    part, field = found["key"].split(".")
    value, wanted = found["value"], found["verb"] != "!="
    return lambda document: (str((document.get(part) or {}).get(field, "")) == value) is wanted
