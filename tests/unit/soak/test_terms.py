"""A take-over is not growth; a leak within a replica's terms is, and so is what is left over from each of them."""

from __future__ import annotations

import random

import pytest

from tests.soak import slopes, terms
from tests.soak.slopes import Sample, Verdict
from tests.soak.terms import LEADER, MOST_A_TERM, STANDBY

# What a leader has more of than a standby, and how long it takes to open it.
WORKERS, LAZY_S = 32.0, 40.0


def life(
    *spans: tuple[bool, float], per_hour: float = 0.0, a_term: float = 0.0, seed: int = 1, name: str = "op-0"
) -> list[Sample]:
    """Samples of one process every 5 s, through spans of time in which it leads or does not, with bursts and noise."""
    chance = random.Random(seed)
    found: list[Sample] = []
    age, kept, led = 0.0, 0.0, False
    for leads, seconds in spans:
        for number in range(int(seconds / 5)):
            lazy = min(1.0, number * 5.0 / LAZY_S)
            open_now = 30.0 + (10.0 * lazy if leads else 0.0) + (6.0 if chance.random() < 0.05 else 0.0) + kept
            noise = chance.uniform(-2, 2)
            values = {
                "tasks": open_now + noise + (WORKERS if leads else 0.0) + per_hour * age / 3600,
                "sockets": open_now + noise,
                "open files": open_now + noise,
                # What the first term begins, with its first passes, stays: once.
                "memory": (77 if led else 75) * slopes.MIB,
                "threads": 2.0,
                "series": 260.0 if led else 210.0 if leads else 180.0,
            }
            found.append(Sample("replica", name, age, values, leads=leads))
            age += 5.0
        kept += a_term if leads else 0.0
        led = led or leads
    return found


def of(samples: list[Sample], role: str, what: str) -> Verdict:
    judged = slopes.judge(terms.stretches(samples))
    return next(one for one in judged if (one.role, one.limit.what) == (role, what))


def by_term(samples: list[Sample]) -> dict[tuple[str, str], terms.TermVerdict]:
    return {(one.role, one.what): one for one in terms.judge(samples)}


# Standbys that take over after their first minute, and lead for a while: what nine short lives in a storm look like.
SHORT = [one for number in range(9) for one in life((False, 90), (True, 240), seed=number, name=f"op-{number}")]
TO_AND_FRO = ((False, 80.0), *((True, 20.0), (False, 20.0)) * 4)


def test_a_take_over_is_not_growth() -> None:
    for what in ("tasks", "sockets", "open files"):
        found = of(SHORT, LEADER, what)
        assert found.breach == ""
        assert found.per_hour is not None
        assert found.lives == 9
    assert of(SHORT, LEADER, "tasks").first > of(SHORT, STANDBY, "tasks").first + 30


def test_as_one_life_from_its_start_on_a_take_over_would_be_growth() -> None:
    as_one = [Sample(STANDBY, one.life, one.age_s, one.values) for one in SHORT]
    found = next(one for one in slopes.judge(as_one) if (one.role, one.limit.what) == (STANDBY, "tasks"))
    assert "tasks of the standby grows" in found.breach


@pytest.mark.parametrize(
    "spans", [((False, 90), (True, 600)), ((True, 600),), ((False, 70), (True, 300), (False, 300))]
)
def test_a_leak_while_it_leads_is_seen(spans: tuple[tuple[bool, float], ...]) -> None:
    # One task every 20 s.
    found = of(life(*spans, per_hour=180) + life(*spans, per_hour=180, seed=2, name="op-1"), LEADER, "tasks")
    assert found.per_hour == pytest.approx(180, rel=0.25)
    assert found.breach.startswith("tasks of the leader grows by ")


def test_a_leak_in_many_short_terms_is_seen() -> None:
    samples = [
        one
        for number in range(9)
        for one in life((False, 90), (True, 130), per_hour=180, seed=number, name=f"op-{number}")
    ]
    assert "tasks of the leader grows" in of(samples, LEADER, "tasks").breach


def test_a_leak_while_it_stands_by_is_seen() -> None:
    assert "tasks of the standby grows" in of(life((False, 600), per_hour=180), STANDBY, "tasks").breach


def test_the_first_minute_of_a_term_is_not_judged() -> None:
    assert of(life((False, 400), (True, 340)), LEADER, "tasks").unjudged
    assert not of(life((False, 400), (True, 370)), LEADER, "tasks").unjudged


def test_to_and_fro_without_a_leak_nothing_grows_with_a_term() -> None:
    samples = life(*TO_AND_FRO) + life(*TO_AND_FRO, seed=2, name="op-1")
    verdicts = terms.judge(samples)
    assert {(one.role, one.what) for one in verdicts} == {
        (role, what) for role in (LEADER, STANDBY) for what in MOST_A_TERM
    }
    assert [one.breach for one in verdicts if one.breach or one.per_term is None] == []
    assert {one.returns for one in verdicts if one.role == LEADER} == {4}


@pytest.mark.parametrize("spans", [TO_AND_FRO, ((False, 150.0), (True, 150.0), (False, 150.0), (True, 150.0)) * 2])
def test_what_each_term_leaves_behind_is_seen_in_both_states(spans: tuple[tuple[bool, float], ...]) -> None:
    samples = life(*spans, a_term=3) + life(*spans, a_term=3, seed=2, name="op-1")
    # Within no stretch does anything grow.
    assert [one.breach for one in slopes.judge(terms.stretches(samples)) if one.breach] == []
    found = by_term(samples)
    for role in (LEADER, STANDBY):
        for what in ("tasks", "sockets", "open files"):
            assert found[role, what].per_term == pytest.approx(3, abs=1)
            assert found[role, what].breach.startswith(f"{what} of the {role} grows by ")
        assert found[role, "threads"].breach == ""


def test_what_the_first_term_begins_for_good_is_not_left_over_each_time() -> None:
    spans = ((False, 80.0), (True, 20.0), (False, 70.0), (True, 20.0))
    samples = [one for number in range(6) for one in life(*spans, seed=number, name=f"op-{number}")]
    assert {(one.per_term, one.breach) for one in terms.judge(samples)} == {(None, "")}


def test_too_few_terms_are_not_judged() -> None:
    found = by_term(life((False, 80.0), (True, 20.0), (False, 20.0), (True, 20.0), a_term=30))
    assert {one.per_term for one in found.values()} == {None}
    assert all(one.per_term is None for one in terms.judge([]))


def test_a_replica_that_could_not_be_asked_is_in_no_state() -> None:
    assert terms.stretches([Sample("sidecar", "a", 70, {"memory": 1.0})]) == []
