"""Expectations against a model: an owner is planned exactly when its cache shows all that was answered, or in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.cluster.expectations import EXPIRY_S, Expectations
from holdfast.cluster.objects import Identity
from holdfast.planning.plan import PODS, Resource
from tests.support.clock import VirtualClock

OWNER = "owner"
NAMES = st.sampled_from(["a", "b", "c"])


@dataclass(frozen=True)
class Event:
    """What a watch will bring, in order: the state of one name after one change, None where it is gone."""

    name: str
    identity: Identity
    gone: bool


class ExpectationsMachine(RuleBasedStateMachine):
    """A server that is written to, a cache that follows it late, and expectations in between.

    The promise: while the owner may be planned, and nothing has expired, its cache shows every object that its own
    writes made, and none of those that they deleted as still untouched. After an expiry the cache may be behind, and
    the requests themselves are what is safe: a name that is taken by our own counts as created.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.server: dict[str, Identity] = {}
        self.cache: dict[str, Identity] = {}
        self.events: list[Event] = []
        self.version = 0
        self.last_expected = float("-inf")
        self.behind = False
        self.written: dict[str, int] = {}
        self.expectations = Expectations(self.clock, self.look_up, (PODS,))

    def teardown(self) -> None:
        self.loop.close()

    def look_up(self, resource: Resource, namespace: str, name: str) -> Identity | None:
        return self.cache.get(name)

    def changed(self, name: str, identity: Identity, *, gone: bool = False) -> None:
        self.events.append(Event(name, identity, gone))
        if gone:
            del self.server[name]
        else:
            self.server[name] = identity

    def next_version(self) -> str:
        self.version += 1
        return str(self.version)

    def may_plan(self) -> bool:
        return self.expectations.wait_s(OWNER) == 0

    @precondition(may_plan)
    @rule(names=st.lists(NAMES, unique=True), deletes=st.lists(NAMES, unique=True), data=st.data())
    def one_pass(self, names: list[str], deletes: list[str], data: st.DataObject) -> None:
        """Delete some of what the cache shows and create some of what it does not, as one plan does."""
        shown = set(self.cache)
        for name in deletes:
            if name in shown:
                self.delete(self.cache[name], graceful=data.draw(st.booleans()))
        for name in names:
            if name not in shown:
                self.create(name, data.draw(st.sampled_from(["lost", "late", "after its event"])))

    def create(self, name: str, answer: str) -> None:
        self.expectations.expect_created(OWNER, PODS, "ns", name)
        self.last_expected = self.clock.monotonic()
        if name not in self.server:
            version = self.next_version()
            self.changed(name, Identity("ns", name, f"uid-{version}", version, OWNER))
        identity = self.server[name]
        if answer == "after its event":
            self.deliver_all()
        if answer != "lost":
            self.expectations.creation_answered(OWNER, PODS, identity)

    def delete(self, held: Identity, *, graceful: bool) -> None:
        self.expectations.expect_deleted(OWNER, PODS, "ns", held.name, held.uid)
        self.last_expected = self.clock.monotonic()
        there = self.server.get(held.name)
        if there is None or there.uid != held.uid:
            self.expectations.deletion_failed(OWNER, PODS, held.uid)
        elif graceful:
            if not there.deleting:
                self.changed(held.name, there._replace(version=self.next_version(), deleting=True))
        else:
            self.changed(held.name, there._replace(version=self.next_version()), gone=True)

    @precondition(lambda self: self.may_plan() and self.cache.keys() & self.server.keys())
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.cache.keys() & self.server.keys())))
        after = self.server[name]._replace(version=self.next_version())
        self.changed(name, after)
        self.written[name] = int(after.version)
        self.expectations.expect_written(OWNER, PODS, "ns", name, after.version)
        self.last_expected = self.clock.monotonic()

    @precondition(lambda self: self.server)
    @rule(data=st.data())
    def somebody_else_deletes(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.server)))
        self.changed(name, self.server[name]._replace(version=self.next_version()), gone=True)

    @precondition(lambda self: self.events)
    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        for event in self.events[:count]:
            if event.gone:
                self.cache.pop(event.name, None)
            else:
                self.cache[event.name] = event.identity
            self.expectations.saw(OWNER, PODS, event.identity, gone=event.gone)
        del self.events[:count]

    def deliver_all(self) -> None:
        while self.events:
            self.deliver(4)

    @rule()
    def relist(self) -> None:
        """A list replaces what the watch would have brought; deletions in between are told, additions too."""
        self.loop.run_until_complete(self.clock.advance(0.1))
        started_at = self.clock.monotonic()
        for name in sorted(self.cache.keys() - self.server.keys()):
            self.expectations.saw(OWNER, PODS, self.cache.pop(name), gone=True)
        for name, identity in sorted(self.server.items()):
            if self.cache.get(name) != identity:
                self.cache[name] = identity
                self.expectations.saw(OWNER, PODS, identity, gone=False)
        self.events.clear()
        self.expectations.relisted(PODS, started_at)

    @rule(seconds=st.sampled_from([1.0, 12.0, EXPIRY_S]))
    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))

    @invariant()
    def no_plan_from_a_cache_that_is_behind_our_own_writes(self) -> None:
        age_s = self.clock.monotonic() - self.last_expected
        expired = age_s > EXPIRY_S - 1e-6
        self.behind = bool(self.events) and (self.behind or expired)
        wait_s = self.expectations.wait_s(OWNER)
        assert 0 <= wait_s <= EXPIRY_S + 1e-6
        if expired:
            assert wait_s < 1e-5, "nothing is waited for longer than the expiry"
        elif wait_s == 0 and not self.behind:
            assert self.cache.keys() >= self.server.keys(), "a creation of ours is not shown yet"
            old = [name for name, held in self.cache.items() if int(held.version) < self.written.get(name, 0)]
            assert not old, "a write of ours is not shown yet"
            marked = [held for name, held in self.server.items() if held.deleting and self.cache[name].uid == held.uid]
            assert all(self.cache[held.name].deleting for held in marked), "a deletion of ours is not shown yet"
        if not self.events and wait_s and not expired:
            # All is shown. What is left was created and deleted again in one go, and only a list or time tells.
            self.relist()
            assert self.expectations.wait_s(OWNER) == 0


ExpectationsMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestExpectations = ExpectationsMachine.TestCase
