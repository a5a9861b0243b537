"""The eyes of the cases on real nodes are not blind: each breach of the promise is seen."""

from __future__ import annotations

from tests.e2e.harness.pod_ledger import Place, PodLedger

FIRST = Place("job", "0-0", 1)


def test_one_pod_a_place_and_one_attempt_at_a_time_is_no_breach() -> None:
    ledger = PodLedger()
    ledger.take("ADDED", "a", FIRST)
    ledger.take("ADDED", "b", Place("job", "0-1", 1))
    ledger.take("MODIFIED", "a", FIRST)
    ledger.take("DELETED", "a", FIRST)
    ledger.take("DELETED", "b", Place("job", "0-1", 1))
    ledger.take("ADDED", "c", Place("job", "0-0", 2))
    ledger.take("ADDED", "d", Place("another", "0-0", 7))
    assert ledger.problems() == []
    assert ledger.slots("job", 1) == {"0-0", "0-1"}
    assert ledger.slots("job", 2) == {"0-0"}


def test_a_second_pod_in_one_place_is_seen_even_after_the_first_is_gone() -> None:
    ledger = PodLedger()
    ledger.take("ADDED", "a", FIRST)
    ledger.take("DELETED", "a", FIRST)
    ledger.take("ADDED", "b", FIRST)
    assert ledger.problems() == [f"{FIRST} had 2 pods"]


def test_a_pod_beside_one_of_another_attempt_is_seen() -> None:
    ledger = PodLedger()
    second = Place("job", "0-1", 2)
    ledger.take("ADDED", "a", FIRST, judge=False)
    ledger.take("ADDED", "b", second)
    assert ledger.problems() == [f"{second} was created while {FIRST} was there"]
