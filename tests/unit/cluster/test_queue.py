"""The queue loses no key, works on one at a time, and gives every key its turn, its alarm and its back-off."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.cluster.queue import BACKOFF_MAX_S, WorkQueue
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until, settle


def queue(clock: VirtualClock) -> WorkQueue[str]:
    return WorkQueue(clock, SeededRandom(), SeededSpawner())


async def test_keys_come_in_order_and_once() -> None:
    work = queue(VirtualClock())
    for key in ("a", "b", "a", "c", "b"):
        work.add(key)
    assert [await work.take() for _ in range(3)] == ["a", "b", "c"]
    assert len(work) == 0
    assert work.busy == 3


async def test_a_key_that_is_added_while_busy_comes_again_and_never_twice_at_once() -> None:
    work = queue(VirtualClock())
    work.add("a")
    assert await work.take() == "a"
    work.add("a")
    work.add("a")
    other = asyncio.ensure_future(work.take())
    await settle()
    assert not other.done(), "the key is still being worked on"
    work.done("a")
    assert await other == "a"
    work.done("a")
    assert len(work) == 0


async def test_a_cancelled_worker_loses_no_key() -> None:
    work = queue(VirtualClock())
    first, second = asyncio.ensure_future(work.take()), asyncio.ensure_future(work.take())
    await settle()
    work.add("a")
    first.cancel()
    await settle()
    assert await second == "a"


async def test_an_alarm_adds_its_key_once_and_is_replaced_by_the_next() -> None:
    clock = VirtualClock()
    work = queue(clock)
    work.alarm("a", 10)
    work.alarm("b", 5)
    work.alarm("a", 20)
    await clock.advance(6)
    assert await work.take() == "b"
    await clock.advance(13)
    assert len(work) == 0
    await clock.advance(1.1)
    assert await work.take() == "a"
    work.alarm("a", 3)
    work.alarm("a", None)
    await clock.advance(10)
    assert len(work) == 0
    assert work.alarms == 0


async def test_an_earlier_alarm_overtakes_a_running_timer() -> None:
    clock = VirtualClock()
    work = queue(clock)
    work.alarm("late", 100)
    await clock.advance(1)
    work.alarm("soon", 2)
    await run_until(clock, lambda: len(work) == 1, limit_s=3)
    assert await work.take() == "soon"


async def test_back_off_doubles_to_a_limit_and_starts_anew() -> None:
    clock = VirtualClock()
    work = queue(clock)
    delays = []
    for _ in range(12):
        delays.append(work.retry("a"))
        await clock.advance(60)
        assert await work.take() == "a"
        work.done("a")
    assert all(later > earlier * 1.1 for earlier, later in pairwise(delays[:7]))
    assert max(delays) <= BACKOFF_MAX_S * 1.25
    work.forget("a")
    assert work.retry("a") < 0.5


async def test_a_back_off_outweighs_an_alarm_that_is_due_at_once() -> None:
    clock = VirtualClock()
    work = queue(clock)
    work.alarm("a", 0.0)
    delay = work.retry("a")
    await clock.advance(delay * 0.9)
    assert len(work) == 0
    await clock.advance(delay * 0.2)
    assert len(work) == 1


async def test_a_back_off_is_as_long_as_a_server_asks_within_the_limit() -> None:
    work = queue(VirtualClock())
    assert work.retry("a", at_least_s=7.0) == 7.0
    assert work.retry("b", at_least_s=7200.0) == BACKOFF_MAX_S


async def test_the_age_is_that_of_the_oldest() -> None:
    clock = VirtualClock()
    work = queue(clock)
    assert work.oldest_s() == 0
    work.add("a")
    await clock.advance(3)
    work.add("b")
    await clock.advance(2)
    assert work.oldest_s() == pytest.approx(5)
    await work.take()
    assert work.oldest_s() == pytest.approx(2)


async def test_clear_leaves_nothing_behind() -> None:
    clock = VirtualClock()
    work = queue(clock)
    work.add("a")
    work.alarm("b", 1)
    work.clear()
    await clock.advance(5)
    assert len(work) == 0
    work.add("a")
    assert await work.take() == "a"


@settings(max_examples=40, deadline=None)
@given(adds=st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 3)), max_size=40), seed=st.integers(0, 99))
def test_every_wake_up_is_followed_by_a_pass_that_began_after_it(adds: list[tuple[str, float]], seed: int) -> None:
    """Whatever the order of adds and workers: after the last add of a key a pass begins, and passes never overlap."""

    async def scenario() -> None:
        clock, spawner = VirtualClock(), SeededSpawner(seed)
        work: WorkQueue[str] = WorkQueue(clock, SeededRandom(seed), spawner)
        last_add: dict[str, float] = {}
        last_begin: dict[str, float] = {}
        running: Counter[str] = Counter()

        async def worker() -> None:
            while True:
                key = await work.take()
                running[key] += 1
                assert running[key] == 1, "two passes for one key at once"
                last_begin[key] = clock.monotonic()
                await clock.sleep(0.7)
                running[key] -= 1
                work.done(key)

        for number in range(2):
            spawner.spawn(worker(), name=f"worker-{number}")
        for key, pause in adds:
            await clock.advance(pause)
            work.add(key)
            last_add[key] = clock.monotonic()
        await clock.advance(60)
        assert last_begin.keys() == last_add.keys()
        assert all(last_begin[key] >= last_add[key] for key in last_add)
        assert not spawner.failures
        await spawner.stop()

    asyncio.run(scenario())


async def test_a_key_that_was_dear_rests_and_loses_nothing_meanwhile() -> None:
    clock = VirtualClock()
    work = queue(clock)
    work.add("a")
    assert await work.take() == "a"
    work.add("a")
    work.done("a", rest_s=2)
    work.add("a")
    again = asyncio.ensure_future(work.take())
    await clock.advance(1.9)
    assert not again.done()
    await clock.advance(0.2)
    assert await again == "a"
    work.done("a", rest_s=2)
    await clock.advance(3)
    work.add("a")
    assert await work.take() == "a", "a rest that is over holds nothing back"


@pytest.mark.parametrize("patience", [(1, 1), (10, 1, 20)], ids=["the same", "the least counts"])
async def test_a_key_that_may_wait_gathers_what_happens_to_it(patience: tuple[int, ...]) -> None:
    clock = VirtualClock()
    work = queue(clock)
    for within_s in patience:
        work.add("a", within_s=within_s)
    taken = asyncio.ensure_future(work.take())
    await clock.advance(0.9)
    assert not taken.done()
    await clock.advance(0.2)
    assert await taken == "a"
    work.done("a")
    assert len(work) == 0


async def test_what_is_urgent_does_not_wait_for_what_is_not() -> None:
    clock = VirtualClock()
    work = queue(clock)
    work.add("a", within_s=10)
    work.add("a")
    assert await work.take() == "a"
    work.done("a", rest_s=1)
    work.add("a", within_s=10)
    work.add("a")
    again = asyncio.ensure_future(work.take())
    await clock.advance(0.9)
    assert not again.done(), "a rest is not cut short"
    await clock.advance(0.2)
    assert await again == "a"


async def test_what_may_wait_and_happens_during_a_turn_waits_after_it_too() -> None:
    clock = VirtualClock()
    work = queue(clock)
    work.add("a")
    assert await work.take() == "a"
    work.add("a", within_s=1)
    await clock.advance(0.5)
    work.done("a")
    again = asyncio.ensure_future(work.take())
    await clock.advance(0.4)
    assert not again.done(), "one turn for what else comes within that time"
    await clock.advance(0.2)
    assert await again == "a"
    work.add("a", within_s=1)
    work.add("a")
    work.done("a")
    assert await work.take() == "a", "and what is urgent does not"


@pytest.mark.parametrize("seed", range(20))
async def test_every_key_comes_in_its_time_however_it_was_added(seed: int) -> None:
    clock, spawner, chance = VirtualClock(), SeededSpawner(), SeededRandom(seed)
    work: WorkQueue[str] = WorkQueue(clock, chance, spawner)
    owed: dict[str, float] = {}
    busy_s, rest_s = 0.3, 0.7

    async def worker() -> None:
        while True:
            key = await work.take()
            owed.pop(key, None)
            await clock.sleep(busy_s)
            work.done(key, rest_s=rest_s if chance.uniform(0, 1) < 0.3 else 0)

    for number in range(4):
        spawner.spawn(worker(), name=f"worker-{number}")
    for _ in range(300):
        key = "abcd"[int(chance.uniform(0, 4))]
        within_s = (0.0, 0.1, 1.0, 5.0)[int(chance.uniform(0, 4))]
        owed[key] = min(owed.get(key, float("inf")), clock.monotonic() + within_s)
        work.add(key, within_s=within_s)
        await clock.advance(chance.uniform(0, 0.5))
        late = {key: clock.monotonic() - due for key, due in owed.items()}
        assert max(late.values(), default=0) <= busy_s + rest_s + 0.01, late
    await clock.advance(6)
    assert not owed
    assert len(work) == 0
    await work.close()
    await spawner.stop()
