"""No kind of fault is left out by chance, and one that could not be made comes again."""

from __future__ import annotations

import random

from tests.soak.deck import Deck

CARDS = {"killed": 3, "paused": 1, "away": 2}


def test_each_round_has_every_kind_as_often_as_asked() -> None:
    deck = Deck(CARDS, random.Random(7))
    for _ in range(5):
        drawn = [deck.draw() for _ in range(6)]
        assert sorted(drawn) == sorted(["killed"] * 3 + ["paused"] + ["away"] * 2)


def test_rounds_differ_and_a_seed_repeats_them() -> None:
    first, second = (Deck(CARDS, random.Random(7)) for _ in range(2))
    rounds = [[first.draw() for _ in range(6)] for _ in range(4)]
    assert [[second.draw() for _ in range(6)] for _ in range(4)] == rounds
    assert len({tuple(one) for one in rounds}) > 1


def test_what_could_not_be_made_comes_again_before_the_round_ends() -> None:
    deck = Deck({"killed": 2, "away": 1}, random.Random(1))
    drawn = [deck.draw() for _ in range(2)]
    deck.put_back(drawn[0])
    assert sorted([*drawn[1:], deck.draw(), deck.draw()]) == ["away", "killed", "killed"]
