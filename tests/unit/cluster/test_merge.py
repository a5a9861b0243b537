"""Merge patches: what is made leads from the old document to the new one, and is empty where nothing differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cluster.merge import apply_merge, merge_between, without_nulls

leaves = st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.lists(st.integers(0, 3), max_size=3))
shallow = st.dictionaries(st.sampled_from("abcd"), leaves, max_size=4)
deep = st.dictionaries(st.sampled_from("abcd"), st.one_of(leaves, shallow), max_size=4)
objects = st.dictionaries(st.sampled_from("abcd"), st.one_of(leaves, shallow, deep), max_size=4)


@given(objects, objects)
def test_a_patch_leads_from_the_old_to_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert apply_merge(old, merge_between(old, new)) == new


@given(objects)
def test_equal_documents_need_no_patch(document: dict[str, Any]) -> None:
    assert merge_between(document, document) == {}


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


def test_a_null_counts_as_absent() -> None:
    assert merge_between({"a": 1, "b": None}, {"a": None, "b": None}) == {"a": None}
    assert merge_between({}, {"a": {"b": None, "c": [{"d": None, "e": 1}]}}) == {"a": {"c": [{"e": 1}]}}
    assert without_nulls({"a": (1, {"b": None})}) == {"a": [1, {}]}
