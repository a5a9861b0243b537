"""The soak's judge: bursts and restarts are not growth, a leak is, whatever the lives it is spread over."""

from __future__ import annotations

import random

import pytest

from tests.soak.slopes import LIMITS, MIB, Sample, judge


def lives(
    count: int, seconds: float, per_hour: float, *, what: str = "open files", noise: float = 3.0, base: float = 20.0
) -> list[Sample]:
    """Samples of sidecars that live for some seconds each, every 5 s, with noise, bursts and a start-up."""
    chance = random.Random(1)
    found = []
    for life in range(count):
        for number in range(int(seconds / 5)):
            age = number * 5.0
            start_up = -15.0 * max(0.0, 1 - age / 30)
            burst = 10.0 if chance.random() < 0.05 else 0.0
            value = base + start_up + burst + chance.uniform(-noise, noise) + per_hour * age / 3600
            found.append(Sample("sidecar", str(life), age, {what: value}))
    return found


def verdict(samples: list[Sample], what: str = "open files") -> tuple[float | None, str]:
    [found] = [one for one in judge(samples) if one.role == "sidecar" and one.limit.what == what]
    return found.per_hour, found.breach


def test_what_is_flat_passes_though_it_is_noisy() -> None:
    growth, breach = verdict(lives(8, 240, 0))
    assert breach == ""
    assert growth is not None
    assert abs(growth) < 15


@pytest.mark.parametrize(("count", "seconds"), [(1, 1200), (4, 300), (10, 180)])
def test_a_leak_is_seen_however_short_the_lives(count: int, seconds: float) -> None:
    # One file every 20 s.
    growth, breach = verdict(lives(count, seconds, 180))
    assert growth == pytest.approx(180, rel=0.25)
    assert breach.startswith("open files of the sidecar grows by ")


def test_memory_that_grows_by_a_mebibyte_a_minute_is_a_leak() -> None:
    samples = lives(4, 400, 60 * MIB, what="memory", noise=MIB / 10, base=60 * MIB)
    assert "memory of the sidecar grows" in verdict(samples, "memory")[1]
    assert verdict(lives(4, 400, 0, what="memory", noise=MIB / 10, base=60 * MIB), "memory")[1] == ""


def test_lives_at_different_heights_are_not_growth() -> None:
    first, second = lives(1, 300, 0, base=20), lives(1, 300, 0, base=70)
    moved = [Sample("sidecar", "second", one.age_s, one.values) for one in second]
    assert verdict(first + moved)[1] == ""


def test_too_much_at_any_time_is_a_breach_even_where_it_does_not_grow() -> None:
    limit = next(one for one in LIMITS["sidecar"] if one.what == "open files")
    assert "reached" in verdict(lives(4, 300, 0, base=limit.most))[1]


def test_too_little_is_not_judged() -> None:
    growth, breach = verdict(lives(2, 100, 500))
    assert (growth, breach) == (None, "")
    assert all(one.per_hour is None for one in judge([]))
