"""The queue against a model of a few lines: whatever is called in any order, no key is lost, doubled or starved."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.cluster.queue import BACKOFF_FIRST_S, BACKOFF_MAX_S, WorkQueue
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, settle

KEYS = st.sampled_from("abcd")


class QueueMachine(RuleBasedStateMachine):
    """`line` is the order in which keys must be taken; a busy key that is wanted again joins it when it is done."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.spawner = VirtualClock(), SeededSpawner()
        self.queue: WorkQueue[str] = WorkQueue(self.clock, SeededRandom(), self.spawner)
        self.line: list[str] = []
        self.again: set[str] = set()
        self.busy: set[str] = set()
        self.alarms: dict[str, float] = {}
        self.failures: Counter[str] = Counter()

    def teardown(self) -> None:
        self.loop.run_until_complete(self.queue.close())
        self.loop.run_until_complete(self.spawner.stop())
        self.loop.close()
        assert not self.spawner.failures

    def wanted(self, key: str) -> None:
        if key in self.busy:
            self.again.add(key)
        elif key not in self.line:
            self.line.append(key)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.wanted(key)

    @precondition(lambda self: self.line)
    @rule()
    def take(self) -> None:
        key = self.loop.run_until_complete(asyncio.wait_for(self.queue.take(), 5))
        assert key == self.line.pop(0), "first in, first out"
        assert key not in self.busy, "one worker a key"
        self.busy.add(key)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.busy)))
        self.queue.done(key)
        self.busy.discard(key)
        if key in self.again:
            self.again.discard(key)
            self.line.append(key)

    @rule(key=KEYS, seconds=st.sampled_from([None, 0.0, 0.5, 3.0, 40.0]))
    def alarm(self, key: str, seconds: float | None) -> None:
        self.loop.run_until_complete(self._call(lambda: self.queue.alarm(key, seconds)))
        self._set(key, seconds)

    @rule(key=KEYS, wish=st.sampled_from([0.0, 7.0, 3600.0]))
    def retry(self, key: str, wish: float) -> None:
        found: list[float] = []
        self.loop.run_until_complete(self._call(lambda: found.append(self.queue.retry(key, at_least_s=wish))))
        base = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** self.failures[key])
        low, high = 0.75 * base, max(1.25 * base, min(wish, BACKOFF_MAX_S))
        assert max(low, min(wish, BACKOFF_MAX_S)) <= found[0] <= high
        self.failures[key] += 1
        self._set(key, found[0])

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        del self.failures[key]

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        self.loop.run_until_complete(self.clock.advance(seconds))
        for key, due in sorted(self.alarms.items(), key=lambda alarm: alarm[1]):
            if due <= end:
                del self.alarms[key]
                self.wanted(key)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.line) + len(self.again)
        assert self.queue.busy == len(self.busy)
        assert self.queue.alarms == len(self.alarms)

    def _set(self, key: str, seconds: float | None) -> None:
        if seconds is None or seconds == 0:
            self.alarms.pop(key, None)
            if seconds == 0:
                self.wanted(key)
        else:
            self.alarms[key] = self.clock.monotonic() + seconds

    @staticmethod
    async def _call(act: object) -> None:
        assert callable(act)
        act()
        await settle()


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueue = QueueMachine.TestCase


async def test_a_storm_on_one_key_keeps_nobody_waiting() -> None:
    """A key that is added all the time gets its turns, and every other key its own after one round at the most."""
    clock, spawner = VirtualClock(), SeededSpawner()
    work: WorkQueue[str] = WorkQueue(clock, SeededRandom(), spawner)
    turns: list[str] = []

    async def worker() -> None:
        while True:
            key = await work.take()
            turns.append(key)
            await clock.sleep(0.1)
            work.done(key)

    async def storm() -> None:
        while True:
            work.add("storm")
            await clock.sleep(0.001)

    spawner.spawn(storm(), name="storm")
    spawner.spawn(worker(), name="worker")
    await clock.advance(1)
    quiet = [f"quiet-{number}" for number in range(10)]
    for key in quiet:
        work.add(key)
    before = len(turns)
    await clock.advance(1.3)
    assert set(quiet) <= set(turns[before:])
    served = before + max(turns[before:].index(key) for key in quiet)
    assert turns[before:served].count("storm") <= 2, "the storm waits for its turn like all others"
    await clock.advance(1)
    assert turns[-1] == "storm"
    await spawner.stop()


async def test_a_key_that_fails_for_ever_delays_no_other() -> None:
    clock, spawner = VirtualClock(), SeededSpawner()
    work: WorkQueue[str] = WorkQueue(clock, SeededRandom(), spawner)
    taken: Counter[str] = Counter()

    async def worker() -> None:
        while True:
            key = await work.take()
            taken[key] += 1
            await clock.sleep(0.05)
            if key == "broken":
                work.retry(key)
            work.done(key)

    spawner.spawn(worker(), name="worker")
    work.add("broken")
    await clock.advance(600)
    assert 20 < taken["broken"] < 40, "twice a minute in the end"
    work.add("sound")
    await settle()
    await clock.advance(0.1)
    assert taken["sound"] == 1
    await spawner.stop()
