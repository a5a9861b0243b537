"""Object names and documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.checkpoint import layout
from holdfast.checkpoint.manifests import (
    OK,
    Commit,
    ManifestError,
    NewerVersion,
    Owner,
    Plan,
    Verdict,
    decode,
    encode,
)

RUNS = st.integers(1, 10**8 - 1)
STEPS = st.integers(0, 10**12 - 1)
SLOTS = st.from_regex(r"[0-9]{1,3}-[0-9]{1,4}", fullmatch=True)
SEGMENTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\x00"), min_size=1, max_size=20)
PATHS = st.lists(SEGMENTS.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map("/".join)


def test_the_names_are_the_contract() -> None:
    assert layout.OWNER == "owner.json"
    assert layout.run_manifest(7) == "runs/00000007/run.json"
    assert layout.inventory(7, "0-1") == "runs/00000007/restore/inventory/0-1.json"
    assert layout.plan(7, 2) == "runs/00000007/restore/0002/plan.json"
    assert layout.verdict(7, 2, "0-1") == "runs/00000007/restore/0002/verdict/0-1.json"
    assert layout.data_object(7, 100, "0-1", "a/b") == "runs/00000007/steps/000000000100/data/0-1/a/b"
    assert layout.part(7, 100, "0-1") == "runs/00000007/steps/000000000100/parts/0-1.json"
    assert layout.commit(7, 100) == "runs/00000007/steps/000000000100/commit.json"


@given(run=RUNS, step=STEPS, round_=st.integers(1, 9999), slot=SLOTS, path=PATHS)
def test_what_is_made_is_understood_and_nothing_else(run: int, step: int, round_: int, slot: str, path: str) -> None:
    names = {
        "run": layout.run_manifest(run),
        "plan": layout.plan(run, round_),
        "verdict": layout.verdict(run, round_, slot),
        "data": layout.data_object(run, step, slot, path),
        "part": layout.part(run, step, slot),
        "commit": layout.commit(run, step),
        "inventory": layout.inventory(run, slot),
    }
    folders = {name[: end + 1] for name in names.values() for end, letter in enumerate(name) if letter == "/"}
    assert {folder for folder in folders if layout.parse_run_folder(folder)} == {layout.run_folder(run)}
    assert layout.parse_run_folder(layout.run_folder(run)) == run
    steps = {folder for folder in folders if layout.parse_step_folder(folder) is not None}
    assert steps == {layout.step_folder(run, step)}
    assert layout.parse_step_folder(layout.step_folder(run, step)) == step
    assert {key for key, name in names.items() if layout.parse_plan(name)} == {"plan"}
    assert {key for key, name in names.items() if layout.parse_verdict(name)} == {"verdict"}
    assert {key for key, name in names.items() if layout.parse_part(name)} == {"part"}
    assert {key for key, name in names.items() if layout.parse_commit(name)} == {"commit"}
    assert {key for key, name in names.items() if layout.parse_step(name)} == {"data", "part", "commit"}
    assert layout.parse_commit(names["commit"]) == layout.parse_step(names["data"]) == (run, step)
    every = list(names.values())
    assert not any(one != other and other.startswith(f"{one}/") for one in every for other in every)


@given(slot=SLOTS, one=PATHS, other=PATHS)
def test_different_paths_have_different_objects_without_forbidden_characters(slot: str, one: str, other: str) -> None:
    first, second = (layout.data_object(1, 1, slot, path) for path in (one, other))
    assert (first == second) == (one == other)
    assert not set("\r\n\x00#?[]*") & set(first)


def test_a_path_that_is_too_long_for_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="too long for an object name of at most 1024 bytes"):
        layout.data_object(1, 1, "0-0", "ü" * 500)


@given(first=RUNS, second=RUNS)
def test_names_sort_as_their_numbers(first: int, second: int) -> None:
    assert (layout.run_manifest(first) < layout.run_manifest(second)) == (first < second)


def test_documents_are_camel_case_and_come_back() -> None:
    owner = Owner(namespace="team", job="digits", job_uid="u", job_created="2030-01-01T00:00:00Z")
    data = encode(owner)
    assert b'"jobUid":"u"' in data
    assert b'"version":1' in data
    assert decode("owner.json", data, Owner) == owner
    assert decode("v", OK, Verdict) == Verdict(verdict="Ok")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a valid Commit document"),
        (b"[]", "not a valid Commit document"),
        (b'{"version":1}', "missing required field `run`"),
        (b'{"version":1,"run":"x"}', "not a valid Commit document"),
    ],
)
def test_what_is_no_document_is_named(data: bytes, problem: str) -> None:
    with pytest.raises(ManifestError, match=problem) as raised:
        decode("runs/x/commit.json", data, Commit)
    assert raised.value.object == "runs/x/commit.json"
    assert str(raised.value).startswith("runs/x/commit.json: ")


def test_a_newer_document_is_told_from_a_broken_one() -> None:
    with pytest.raises(NewerVersion, match="upgrade"):
        decode("plan.json", b'{"version":2,"kind":"Unheard"}', Plan)
    assert decode("plan.json", b'{"version":1,"kind":"Fresh","later":true}', Plan).kind == "Fresh"
