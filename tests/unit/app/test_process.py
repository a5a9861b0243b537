"""The heartbeat tells how late the event loop runs; the process tells what it uses."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from holdfast.app import process
from holdfast.app.process import BEAT_S, LATE_BEATS, LATE_S, REMEMBERED_S, Heartbeat
from tests.support.clock import SeededSpawner, VirtualClock, settle


async def late_by(clock: VirtualClock, seconds: float, beats: int = 1) -> None:
    """Let the loop come to the next beats that much too late: time goes by and nobody runs."""
    for _ in range(beats):
        clock.jump(BEAT_S + seconds)
        await settle()


async def test_a_loop_in_time_is_not_late() -> None:
    clock, spawner = VirtualClock(), SeededSpawner()
    heart = Heartbeat(clock)
    spawner.spawn(heart.run(), name="heartbeat")
    await clock.advance(120)
    assert heart.worst_s() == 0
    assert heart.stalled_s() == 0
    await spawner.stop()


async def test_the_worst_is_remembered_for_a_minute_and_told(caplog: pytest.LogCaptureFixture) -> None:
    clock, spawner = VirtualClock(), SeededSpawner()
    heart = Heartbeat(clock)
    spawner.spawn(heart.run(), name="heartbeat")
    await settle()
    with caplog.at_level(logging.WARNING, "holdfast"):
        await late_by(clock, 7.5)
        await late_by(clock, 0.5)
    assert heart.worst_s() == pytest.approx(7.5)
    assert [(record.message, vars(record)["fields"]) for record in caplog.records] == [("loop.late", {"seconds": 7.5})]
    await clock.advance(REMEMBERED_S + 2)
    assert heart.worst_s() == 0
    await spawner.stop()


async def test_a_loop_that_is_late_once_is_busy_one_that_always_is_stalls() -> None:
    clock, spawner = VirtualClock(), SeededSpawner()
    heart = Heartbeat(clock)
    spawner.spawn(heart.run(), name="heartbeat")
    await clock.advance(30)
    await late_by(clock, LATE_S + 1, LATE_BEATS - 1)
    assert heart.stalled_s() == 0
    await late_by(clock, LATE_S + 1)
    assert heart.stalled_s() == pytest.approx(LATE_S + 1)
    await clock.advance(BEAT_S)
    assert heart.stalled_s() == 0, "one beat in time is enough"
    await spawner.stop()


async def test_a_beat_that_never_comes_is_late() -> None:
    clock, spawner = VirtualClock(), SeededSpawner()
    heart = Heartbeat(clock)
    beat = spawner.spawn(heart.run(), name="heartbeat")
    await clock.advance(10)
    beat.cancel()
    await settle()
    await clock.advance(LATE_S * LATE_BEATS)
    assert heart.stalled_s() == 0
    await clock.advance(5)
    assert heart.stalled_s() > LATE_S * LATE_BEATS


async def test_the_process_tells_what_it_uses() -> None:
    before = process.sockets()
    with socket.socket():
        assert process.sockets() == before + 1
    sleeper = asyncio.ensure_future(asyncio.sleep(60))
    sleeper.set_name("worker-12")
    assert process.tasks()["worker"] == 1
    assert process.task_count() >= 2
    assert process.threads() >= 1
    sleeper.cancel()
