"""The times of recovery: what recovers is timed, what is no longer wanted is not, what never does is a breach."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.soak.recoveries import Recoveries


def settled(one: Recoveries) -> Recoveries:
    end = time.monotonic() + 10
    while one.pending and time.monotonic() < end:
        time.sleep(0.01)
    assert one.pending == 0
    return one


def test_a_recovery_is_timed_from_the_fault() -> None:
    one = Recoveries(within_s=5, every_s=0.01)
    at = time.monotonic() + 0.3
    one.expect("killed", "job", lambda: time.monotonic() >= at)
    count, middle, longest = settled(one).told("killed")
    assert count == 1
    assert 0.25 < middle == longest < 2
    assert one.breaches == []


def test_what_is_no_longer_wanted_is_not_timed() -> None:
    one = Recoveries(within_s=5, every_s=0.01)
    one.expect("killed", "job", lambda: None)
    assert settled(one).told("killed")[0] == 0
    assert (one.moot["killed"], one.breaches) == (1, [])


def test_what_does_not_recover_is_a_breach() -> None:
    one = Recoveries(within_s=0.05, every_s=0.01)
    one.expect("killed", "job", lambda: False)
    assert settled(one).breaches == ["killed: job is not well again within 0 s"]


def test_a_question_without_an_answer_is_asked_again() -> None:
    answers: Iterator[bool] = iter([True])
    failures = iter([OSError("away"), LookupError("not there")])

    def ask() -> bool:
        for failure in failures:
            raise failure
        return next(answers)

    one = Recoveries(within_s=5, every_s=0.01)
    one.expect("away", "job", ask)
    assert settled(one).told("away")[0] == 1
