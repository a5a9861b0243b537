"""The cache keeps the newest version, its indexes right, and tells of every change in the right order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cluster.cache import Cache
from holdfast.cluster.objects import Identity


@dataclass(frozen=True)
class Thing:
    name: str
    version: int
    uid: str = "u"
    owner: str = ""
    colour: str = ""


def identify(thing: Thing) -> Identity:
    return Identity("ns", thing.name, f"{thing.name}-{thing.uid}", str(thing.version), thing.owner)


def cache() -> Cache[Thing]:
    return Cache(identify, {"colour": lambda thing: (thing.colour,) if thing.colour else ()})


def test_an_older_version_of_the_same_object_is_ignored() -> None:
    things = cache()
    assert things.upsert(Thing("a", 9))
    assert not things.upsert(Thing("a", 9))
    assert not things.upsert(Thing("a", 8))
    assert things.get("ns", "a") == Thing("a", 9)
    assert things.upsert(Thing("a", 10)), "versions are numbers, not texts"


def test_another_object_of_the_same_name_replaces_whatever_its_version() -> None:
    things = cache()
    things.upsert(Thing("a", 9))
    assert things.upsert(Thing("a", 3, uid="other"))


def test_indexes_follow_changes() -> None:
    things = cache()
    things.upsert(Thing("a", 1, owner="o1", colour="red"))
    things.upsert(Thing("b", 1, owner="o1", colour="blue"))
    assert [thing.name for thing in things.owned_by("o1")] == ["a", "b"]
    things.upsert(Thing("a", 2, owner="o2", colour="blue"))
    assert [thing.name for thing in things.owned_by("o1")] == ["b"]
    assert [thing.name for thing in things.by_index("colour", "blue")] == ["a", "b"]
    assert things.by_index("colour", "red") == []
    things.remove(("ns", "b"))
    assert [thing.name for thing in things.by_index("colour", "blue")] == ["a"]
    with pytest.raises(KeyError):
        things.by_index("no such index", "x")


def test_a_replacement_tells_deletions_first_and_keeps_what_it_is_told_to() -> None:
    things = cache()
    for name in ("gone", "odd", "reborn", "same", "newer"):
        things.upsert(Thing(name, 1))
    told: list[tuple[str, str]] = []

    def listen(old: Thing | None, new: Thing | None) -> None:
        kind = "+" if old is None else "-" if new is None else "~"
        told.append((kind, (new or old or Thing("?", 0)).name))

    things.listen(listen)
    assert not things.synced
    things.replace(
        [Thing("reborn", 5, uid="new"), Thing("same", 1), Thing("newer", 2), Thing("fresh", 6)], keep=[("ns", "odd")]
    )
    assert things.synced
    assert told == [("-", "gone"), ("-", "reborn"), ("+", "reborn"), ("~", "newer"), ("+", "fresh")]
    assert [key[1] for key in things.sorted_keys()] == ["fresh", "newer", "odd", "reborn", "same"]


things_strategy = st.builds(
    Thing,
    name=st.sampled_from("abc"),
    version=st.integers(1, 20),
    uid=st.sampled_from("uv"),
    owner=st.sampled_from(["", "o1", "o2"]),
    colour=st.sampled_from(["", "red", "blue"]),
)


@given(st.lists(st.one_of(things_strategy, st.sampled_from("abc"))))
def test_indexes_always_equal_a_search(steps: list[Thing | str]) -> None:
    things = cache()
    for step in steps:
        if isinstance(step, str):
            things.remove(("ns", step))
        else:
            things.upsert(step)
    for colour in ("red", "blue"):
        found = [thing for thing in things.values() if thing.colour == colour]
        assert things.by_index("colour", colour) == found
        assert things.count("colour", colour) == len(found)
    for owner in ("o1", "o2"):
        assert things.owned_by(owner) == [thing for thing in things.values() if thing.owner == owner]
