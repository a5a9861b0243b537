"""The status: built, dumped, read back, and small however large the job is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.recovery import MAX_RESTARTS
from holdfast.api.scalars import MAX_MESSAGE, MAX_ROW_MESSAGE, decimal
from holdfast.api.status import (
    MAX_ATTEMPT_ROWS,
    MAX_CHECKPOINTS,
    MAX_NODES,
    AttemptRow,
    CheckpointStatus,
    CommittedCheckpoint,
    Condition,
    Phase,
    Progress,
    TrainingJobStatus,
    WorkerCounts,
)

NOW = datetime(2026, 11, 22, 19, 0, 0, 250_000, tzinfo=UTC)


def test_times_are_whole_seconds_in_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=2)))
    assert TrainingJobStatus(next_retry_at=east).dump()["nextRetryAt"] == "2026-11-22T19:00:00Z"


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        TrainingJobStatus(next_retry_at=datetime(2026, 11, 22))  # noqa: DTZ001 - what is refused


def test_what_is_not_set_is_left_out() -> None:
    status = TrainingJobStatus(phase=Phase.PENDING, attempt=0, workers=WorkerCounts(desired=2))
    assert status.dump() == {
        "conditions": [],
        "phase": "Pending",
        "attempt": 0,
        "restartTimes": [],
        "workers": {"desired": 2, "created": 0, "running": 0, "succeeded": 0},
        "attempts": [],
        "nodePools": [],
    }


def test_the_list_of_commits_has_its_name_on_the_wire() -> None:
    commit = CommittedCheckpoint(step=100, run=2, committed_at=NOW, bytes=5, manifest="gs://b/p/m.json")
    status = CheckpointStatus(latest=commit, commits=(commit,))
    dumped = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert dumped["list"] == [dumped["latest"]]
    read = CheckpointStatus.model_validate(dumped)
    assert read.commits[0].committed_at == NOW.replace(microsecond=0)


@pytest.mark.parametrize(("value", "text"), [(0.123456789, "0.123457"), (12.0, "12"), (1e-9, "1e-09"), (1.5, "1.5")])
def test_decimals_are_short(value: float, text: str) -> None:
    assert decimal(value) == text
    assert Progress(loss=decimal(value)).loss == text


def test_messages_that_quote_others_lose_their_end() -> None:
    row = AttemptRow(attempt=1, started_at=NOW, message="m" * 300)
    assert row.message == "m" * (MAX_ROW_MESSAGE - 1) + "…"
    copied = row.model_copy(update={"message": "n" * 300})
    assert TrainingJobStatus(attempts=(copied,)).attempts[0].message == "n" * (MAX_ROW_MESSAGE - 1) + "…"
    status = TrainingJobStatus(message="m" * 5000)
    assert status.message is not None
    assert len(status.message) == MAX_MESSAGE
    assert TrainingJobStatus(message="m" * MAX_MESSAGE).message == "m" * MAX_MESSAGE


def test_a_full_status_stays_far_below_64_kb() -> None:
    long = "m" * MAX_MESSAGE
    commit = CommittedCheckpoint(step=10**9, run=10**6, committed_at=NOW, bytes=10**15, manifest="x" * 640)
    status = TrainingJobStatus(
        conditions=tuple(
            Condition(type=kind.value, status="True", last_transition_time=NOW, reason=Reason.RUNNING, message=long)
            for kind in ConditionType
        ),
        phase=Phase.RUNNING,
        reason=Reason.NO_RESTORABLE_CHECKPOINT,
        message=long,
        restart_times=(NOW,) * (MAX_RESTARTS + 1),
        checkpoint=CheckpointStatus(latest=commit, commits=(commit,) * MAX_CHECKPOINTS),
        attempts=(
            AttemptRow(
                attempt=10**6,
                started_at=NOW,
                ended_at=NOW,
                cause="x" * 64,
                message=long,
                nodes=("n" * 253,) * MAX_NODES,
            ),
        )
        * MAX_ATTEMPT_ROWS,
    )
    assert len(json.dumps(status.dump())) < 64_000
    assert TrainingJobStatus.model_validate(status.dump()).dump() == status.dump()
