"""An owner is planned again only when its caches show what was answered, or after a while without that."""

from __future__ import annotations

import pytest

from holdfast.cluster.expectations import EXPIRY_S, Expectations
from holdfast.cluster.objects import Identity
from holdfast.planning.plan import CLAIMS, PODS, SERVICES, TRAINING_JOBS, Resource
from tests.support.clock import VirtualClock


class Seen:
    """A cache as a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Resource, str, str], Identity] = {}

    def __call__(self, resource: Resource, namespace: str, name: str) -> Identity | None:
        return self.objects.get((resource, namespace, name))

    def put(self, resource: Resource, identity: Identity) -> None:
        self.objects[(resource, identity.namespace, identity.name)] = identity


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def expectations(clock: VirtualClock, seen: Seen) -> Expectations:
    return Expectations(clock, seen, (PODS, SERVICES, TRAINING_JOBS))


def pod(name: str, version: str = "5", *, uid: str = "", deleting: bool = False) -> Identity:
    return Identity("ns", name, uid or f"uid-{name}", version, "owner", deleting)


def test_a_creation_is_met_by_its_event_even_before_the_answer(expectations: Expectations) -> None:
    expectations.expect_created("owner", PODS, "ns", "a")
    expectations.expect_created("owner", PODS, "ns", "b")
    assert expectations.wait_s("owner") == pytest.approx(EXPIRY_S)
    expectations.saw("owner", PODS, pod("a"), gone=False)
    assert expectations.wait_s("owner") > 0
    expectations.saw("owner", PODS, pod("b"), gone=False)
    assert expectations.wait_s("owner") == 0
    assert len(expectations) == 0


def test_the_deletion_of_an_older_object_of_that_name_does_not_meet_a_creation(expectations: Expectations) -> None:
    expectations.expect_created("owner", PODS, "ns", "a")
    expectations.saw("owner", PODS, pod("a"), gone=True)
    assert expectations.wait_s("owner") > 0


def test_what_is_refused_is_not_waited_for(expectations: Expectations) -> None:
    expectations.expect_created("owner", PODS, "ns", "a")
    expectations.creation_failed("owner", PODS, "ns", "a")
    assert expectations.wait_s("owner") == 0


def test_what_was_shown_before_the_answer_is_not_waited_for(expectations: Expectations, seen: Seen) -> None:
    seen.put(PODS, pod("a"))
    expectations.expect_created("owner", PODS, "ns", "a")
    expectations.creation_answered("owner", PODS, pod("a", uid="another"))
    assert expectations.wait_s("owner") > 0, "that is an older object of the same name"
    expectations.creation_answered("owner", PODS, pod("a"))
    assert expectations.wait_s("owner") == 0


def test_a_deletion_is_met_by_the_mark_or_by_the_end(expectations: Expectations, seen: Seen) -> None:
    seen.put(PODS, pod("a"))
    seen.put(PODS, pod("b"))
    for name in ("a", "b"):
        expectations.expect_deleted("owner", PODS, "ns", name, f"uid-{name}")
    expectations.saw("owner", PODS, pod("a", "6", deleting=True), gone=False)
    expectations.saw("owner", PODS, pod("b", "6"), gone=False)
    assert expectations.wait_s("owner") > 0, "an unrelated change of b"
    expectations.saw("owner", PODS, pod("b", "7"), gone=True)
    assert expectations.wait_s("owner") == 0


@pytest.mark.parametrize(
    "held", [None, pod("a", deleting=True), pod("a", uid="another")], ids=["not seen", "deleting", "another"]
)
def test_a_deletion_that_may_never_show_is_not_waited_for(
    expectations: Expectations, seen: Seen, held: Identity | None
) -> None:
    if held is not None:
        seen.put(PODS, held)
    expectations.expect_deleted("owner", PODS, "ns", "a", "uid-a")
    assert expectations.wait_s("owner") == 0


def test_a_write_is_met_by_its_version_or_a_later_one(expectations: Expectations, seen: Seen) -> None:
    job = Identity("ns", "j", "owner", "9")
    seen.put(TRAINING_JOBS, job)
    expectations.expect_written("owner", TRAINING_JOBS, "ns", "j", "12")
    expectations.saw("owner", TRAINING_JOBS, job._replace(version="11"), gone=False)
    assert expectations.wait_s("owner") > 0
    expectations.saw("owner", TRAINING_JOBS, job._replace(version="100"), gone=False)
    assert expectations.wait_s("owner") == 0


def test_a_write_that_the_cache_shows_already_is_not_waited_for(expectations: Expectations, seen: Seen) -> None:
    seen.put(TRAINING_JOBS, Identity("ns", "j", "owner", "12"))
    expectations.expect_written("owner", TRAINING_JOBS, "ns", "j", "12")
    assert expectations.wait_s("owner") == 0


async def test_nothing_is_waited_for_longer_than_the_expiry(clock: VirtualClock, expectations: Expectations) -> None:
    expectations.expect_created("owner", PODS, "ns", "a")
    await clock.advance(EXPIRY_S - 1)
    assert expectations.wait_s("owner") == pytest.approx(1)
    assert not expectations.expired("owner")
    await clock.advance(1)
    assert expectations.wait_s("owner") == 0
    assert expectations.expired("owner"), "what was not seen in time has to be asked for"
    assert not expectations.expired("owner"), "once"
    assert len(expectations) == 0


async def test_a_list_begun_later_shows_everything(clock: VirtualClock, expectations: Expectations) -> None:
    expectations.expect_created("owner", PODS, "ns", "a")
    expectations.expect_created("owner", SERVICES, "ns", "s")
    expectations.relisted(PODS, clock.monotonic() - 1)
    assert expectations.wait_s("owner") > 0, "the list began before the request"
    await clock.advance(1)
    expectations.relisted(PODS, clock.monotonic())
    assert expectations.wait_s("owner") > 0, "the Service is still expected"
    expectations.relisted(SERVICES, clock.monotonic())
    assert expectations.wait_s("owner") == 0


def test_what_nobody_watches_is_not_waited_for(expectations: Expectations) -> None:
    expectations.expect_created("owner", CLAIMS, "ns", "c")
    assert expectations.wait_s("owner") == 0


def test_owners_do_not_wait_for_each_other(expectations: Expectations) -> None:
    expectations.expect_created("one", PODS, "ns", "a")
    assert expectations.wait_s("other") == 0
    expectations.saw("other", PODS, pod("a"), gone=False)
    assert expectations.wait_s("one") > 0


async def test_what_was_not_seen_in_time_is_told_once(clock: VirtualClock, expectations: Expectations) -> None:
    assert not expectations.expired("owner")
    expectations.expect_created("owner", PODS, "ns", "a")
    await clock.advance(EXPIRY_S - 1)
    assert not expectations.expired("owner")
    assert expectations.wait_s("owner") == pytest.approx(1)
    await clock.advance(1)
    assert expectations.expired("owner")
    assert not expectations.expired("owner")
    assert expectations.wait_s("owner") == 0


async def test_what_was_seen_in_time_does_not_expire(clock: VirtualClock, expectations: Expectations) -> None:
    expectations.expect_created("owner", PODS, "ns", "a")
    expectations.saw("owner", PODS, pod("a"), gone=False)
    await clock.advance(EXPIRY_S)
    assert not expectations.expired("owner")
