"""What is left of a watch's lines for Kopf."""

from __future__ import annotations

import json
from typing import Any

from holdfast.app.kopf_session import in_brief

Event = dict[str, Any]


def event(kind: str, version: int, **metadata: Any) -> bytes:
    meta = {"name": "j", "namespace": "ns", "uid": "u", "resourceVersion": str(version), **metadata}
    return json.dumps({"type": kind, "object": {"spec": {"much": "more"}, "metadata": meta}}).encode()


def brief(*lines: bytes) -> list[Event]:
    return [json.loads(line) for line in in_brief(list(lines)).splitlines()]


def test_what_comes_and_goes_is_named() -> None:
    named = {"metadata": {"name": "j", "namespace": "ns", "uid": "u", "resourceVersion": "1"}}
    managed = [{"manager": "kubectl", "fieldsV1": {}}]
    assert brief(event("ADDED", 1, managedFields=managed)) == [{"type": "ADDED", "object": named}]
    assert brief(event("DELETED", 1, labels={"a": "b"})) == [{"type": "DELETED", "object": named}]


def test_a_change_is_only_a_version_and_the_last_of_several_stands_for_all() -> None:
    told = brief(event("MODIFIED", 5), event("MODIFIED", 6), event("ADDED", 7), event("MODIFIED", 8))
    assert [(one["type"], one["object"]["metadata"]["resourceVersion"]) for one in told] == [
        ("BOOKMARK", "6"),
        ("ADDED", "7"),
        ("BOOKMARK", "8"),
    ]
    assert "uid" not in told[0]["object"]["metadata"]


def test_what_is_no_event_of_an_object_is_left_as_it_is() -> None:
    gone = b'{"type":"ERROR","object":{"kind":"Status","code":410}}'
    bookmark = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}'
    torn = b'{"type":"MODIFIED","object":{"meta'
    assert in_brief([event("MODIFIED", 5), gone, bookmark, torn]).splitlines()[1:] == [gone, bookmark, torn]
