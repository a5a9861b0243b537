"""The inbox holds the newest report of a pod and tells only of what is new."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.api.wire import Commit, Progress, Report, StoreState
from holdfast.reports.inbox import Inbox
from tests.support.clock import VirtualClock

BASE = Report(
    role="Sidecar",
    namespace="ns",
    job="j",
    job_uid="u",
    attempt=1,
    slot="0-0",
    pod_name="p-0",
    pod_uid="uid-0",
    sequence=5,
    phase="Watching",
)


def changed(**changes: object) -> Report:
    return msgspec.structs.replace(BASE, **changes)


@pytest.fixture
def heard() -> list[Report]:
    return []


@pytest.fixture
def inbox(heard: list[Report]) -> Inbox:
    made = Inbox(VirtualClock())
    made.listen(heard.append)
    return made


def test_an_overtaken_report_is_dropped(inbox: Inbox) -> None:
    assert inbox.put(changed(sequence=6, last_complete=20))
    assert not inbox.put(BASE)
    received = inbox.newest("uid-0")
    assert received is not None
    assert received.report.last_complete == 20
    assert (inbox.accepted, inbox.stale) == (1, 1)


def test_a_sidecar_follows_a_restore_step_and_not_the_other_way_round(inbox: Inbox) -> None:
    inbox.put(changed(role="Restore", sequence=90))
    assert inbox.put(changed(role="Sidecar", sequence=1))
    assert not inbox.put(changed(role="Restore", sequence=91))


def test_a_sidecar_that_was_started_again_is_believed(inbox: Inbox) -> None:
    inbox.put(changed(sequence=900))
    assert inbox.put(changed(sequence=1, phase="Starting"))
    assert inbox.put(changed(sequence=2))


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "Flushed"},
        {"last_complete": 10},
        {"part_written": 10},
        {"committed": 10},
        {"commits": (Commit(run=1, step=10, committed_at="2030-01-01T00:00:00Z"),)},
        {"store": StoreState(ready=False, reason="BucketNotFound")},
        {"acknowledged": ("c",)},
        {"restored_step": 10},
    ],
    ids=lambda change: next(iter(change)),
)
def test_news_is_told(inbox: Inbox, heard: list[Report], change: dict[str, object]) -> None:
    inbox.put(BASE)
    inbox.put(changed(sequence=6, **change))
    assert len(heard) == 2


def test_heartbeats_and_fine_progress_are_stored_but_not_told(inbox: Inbox, heard: list[Report]) -> None:
    inbox.put(BASE)
    inbox.put(changed(sequence=6))
    inbox.put(changed(sequence=7, progress=Progress(step=11), step_age_s=3.0, pending_bytes=5))
    assert len(heard) == 1
    received = inbox.newest("uid-0")
    assert received is not None
    assert received.report.progress.step == 11


def test_a_pod_that_is_gone_is_forgotten(inbox: Inbox) -> None:
    inbox.put(BASE)
    inbox.drop("uid-0")
    inbox.drop("uid-0")
    assert inbox.newest("uid-0") is None
    assert len(inbox) == 0
