"""How often a stop writes status: not with every report, but when something would be lost with the pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfast.api.wire import Commit, Progress
from holdfast.planning.observed import CustomObject, Received
from holdfast.planning.plan import Delete, Plan, StatusWrite
from holdfast.training.plan import plan
from tests.unit.training import builders as b

WORKERS, REPORTS = 8, 10


class Stopping:
    """A gang that is being stopped, pass by pass: what is written is what the next pass sees."""

    def __init__(self, **spec: Any) -> None:
        self.spec = {"accelerator": {"cpu": {"workers": WORKERS}}, **spec}
        started = b.stamp(b.NOW - timedelta(hours=1))
        self.status: Mapping[str, Any] = b.attempt_status(attempts=[{"attempt": 1, "startedAt": started}])
        self.pods = {number: b.running(number) for number in range(WORKERS)}
        self.reports: dict[int, Received] = {
            number: b.report(pod, restored_step=4) for number, pod in self.pods.items()
        }
        self.now = self.refreshed_at = b.NOW
        self.written: list[Mapping[str, Any]] = []
        self.orders: tuple[str, ...] = ()

    def look(self) -> Plan:
        job = b.job(**self.spec)
        held = CustomObject(metadata=job.metadata, spec=job.spec, status=dict(self.status))
        seen = b.observed(held, *self.pods.values(), reports=tuple(self.reports.values()))
        made = plan(replace(seen, refreshed_at=self.refreshed_at), self.now)
        for write in (made.write_ahead, made.status):
            self._carry_out(write)
        self.orders = tuple(order.id for orders in made.commands.values() for order in orders)[:1] or self.orders
        names = {action.name for action in made.actions if isinstance(action, Delete)}
        for number, pod in self.pods.items():
            if pod.metadata.name in names:
                self.pods[number] = b.running(number, deleting=self.now, grace=30)
        return made

    def _carry_out(self, write: StatusWrite | None) -> None:
        if write is not None and write.wanted != write.observed:
            self.status, self.refreshed_at = write.wanted, self.now
            self.written.append(write.wanted)

    def hear(self, number: int, *, after_s: float = 0.5, **fields: Any) -> None:
        """A report of one worker, and the pass that follows."""
        self.now += timedelta(seconds=after_s)
        self.reports[number] = b.report(self.pods[number], at=self.now, restored_step=4, **fields)
        self.look()

    def drain(self) -> None:
        for sent in range(REPORTS):
            for number in range(WORKERS):
                self.hear(number, progress=Progress(step=100 + sent), pending_bytes=1000 - sent, phase="Flushing")

    def acknowledge(self, *commits: Commit) -> None:
        for number in range(WORKERS):
            self.hear(number, acknowledged=self.orders, phase="Flushed", commits=commits)

    def go(self) -> None:
        self.pods.clear()
        self.reports.clear()
        self.look()


def commit(step: int, at: datetime = b.NOW) -> Commit:
    return Commit(run=1, step=step, committed_at=b.stamp(at), object=f"gs://bucket/{step}")


STOPS = pytest.mark.parametrize("spec", [{"suspend": True}, {"activeDeadline": "1h"}], ids=["suspend", "deadline"])


@STOPS
def test_a_drain_is_three_writes_and_one_for_each_minute_however_many_reports_come(spec: dict[str, Any]) -> None:
    gang = Stopping(**spec)
    gang.look()
    assert len(gang.written) == 1, "the decision"
    gang.drain()
    minutes = int((gang.now - b.NOW).total_seconds() // 60)
    assert len(gang.written) <= 1 + minutes, f"{WORKERS * REPORTS} reports"
    before = len(gang.written)
    gang.acknowledge(commit(104), commit(108))
    assert all(pod.deleting for pod in gang.pods.values())
    assert len(gang.written) == before + 1, "the commits, ahead of the deletions"
    assert gang.written[-1]["checkpoint"]["latest"]["step"] == 108
    gang.go()
    assert len(gang.written) == before + 2, "the end"


@STOPS
def test_what_is_told_when_the_stop_is_decided_goes_with_that_write(spec: dict[str, Any]) -> None:
    gang = Stopping(**spec)
    gang.hear(0, progress=Progress(step=99), commits=(commit(96),))
    assert len(gang.written) == 1
    assert gang.written[0]["progress"]["step"] == 99
    assert gang.written[0]["checkpoint"]["latest"]["step"] == 96


@STOPS
def test_a_commit_that_is_told_by_pods_on_their_way_out_is_written_once(spec: dict[str, Any]) -> None:
    gang = Stopping(**spec)
    gang.look()
    gang.look()
    gang.acknowledge()
    before = len(gang.written)
    for number in range(WORKERS):
        gang.hear(number, phase="Finished", commits=(commit(112),), acknowledged=gang.orders)
    assert len(gang.written) == before + 1
    assert gang.written[-1]["checkpoint"]["latest"]["step"] == 112


@STOPS
def test_a_long_drain_refreshes_once_a_minute(spec: dict[str, Any]) -> None:
    gang = Stopping(**spec)
    gang.look()
    for step in range(20):
        gang.hear(0, after_s=15, progress=Progress(step=100 + step), commits=(commit(100 + step),), pending_bytes=9)
    assert 1 + 3 <= len(gang.written) <= 1 + 5, "300 s"
    assert gang.written[-1]["checkpoint"]["latest"]["step"] > 110
