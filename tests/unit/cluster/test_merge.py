"""Merge patches, and documents without nulls."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cluster.merge import apply_merge, without_nulls


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # The examples of RFC 7396, appendix A, as far as they concern objects.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "foo"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_applying(target: Any, patch: Any, result: Any) -> None:
    assert apply_merge(target, patch) == result


def test_nulls_go_and_tuples_become_lists() -> None:
    assert without_nulls({"a": (1, {"b": None}), "c": None, "d": {"e": None}}) == {"a": [1, {}], "d": {}}
