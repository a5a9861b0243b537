"""What `kubectl get` shows of a job: a status that contradicts itself is seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soak import account

Fields = dict[str, Any]


def row(attempt: int, cause: str | None) -> Fields:
    return {"attempt": attempt, "startedAt": "x"} | ({"endedAt": "y", "cause": cause} if cause else {})


def status(*rows: Fields, **changes: object) -> Fields:
    """A job that runs, with as many restarts as rows that count."""
    counted = [one for one in rows[:-1] if one["cause"] in ("WorkerFailed", "PodDeleted")]
    return {
        "phase": "Running",
        "attempt": rows[-1]["attempt"],
        "attempts": list(rows),
        "restarts": len(counted),
        "restartTimes": ["t"] * len(counted),
        "workers": {"desired": 2, "created": 2, "running": 1},
        "checkpoint": {"latest": {"step": 3}, "list": [{"step": 3}, {"step": 2}]},
        **changes,
    }


ROWS = (row(1, "WorkerFailed"), row(2, "NodeLost"), row(3, "Suspended"), row(4, "PodDeleted"), row(5, None))


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"phase": "Pending", "workers": {"desired": 2}},
        status(*ROWS),
        status(row(1, "Superseded"), row(7, None)),
        status(row(1, "WorkerFailed"), row(2, "Succeeded"), phase="Succeeded"),
        status(row(1, "Suspended"), phase="Suspended"),
        # Older rows are gone, and what they counted is not known.
        status(*ROWS[2:], restarts=7, restartTimes=["t"] * 7),
    ],
)
def test_what_adds_up_passes(good: Fields) -> None:
    account.check("job", good)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (status(*ROWS, attempt=4), "attempt 4, rows to"),
        (status(*ROWS, restarts=3), "3 restarts, and the times of 2"),
        (
            status(*ROWS, restarts=3, restartTimes=["t"] * 3),
            r"3 restarts, and those that count ended attempts \[1, 4\]",
        ),
        (status(*ROWS, restarts=1, restartTimes=["t"]), "1 restarts, and those that count"),
        (status(row(1, "WorkerFailed"), row(3, None)), "follows"),
        (status(row(2, "Superseded"), row(2, None)), "follows"),
        (status(row(1, "WorkerFailed"), row(2, "NodeLost")), "Running, and its attempt has ended"),
        (status(row(1, None), phase="Failed"), "Failed, and its attempt has not ended"),
        (status(row(1, "WorkerFailed"), phase="Succeeded"), "Succeeded, and the last row"),
        (status(row(1, "Succeeded"), phase="Restarting"), "Restarting, and the last row"),
        (status({"attempt": 1, "endedAt": "y"}, phase="Restarting"), "end and cause"),
        (status({"attempt": 1, "endedAt": "y", "cause": None}, row(2, None)), "ended without a cause"),
        (status(row(1, None), workers={"desired": 2, "created": 1, "running": 2}), "2 workers run"),
        (status(row(1, None), workers={"desired": 1, "created": 2}), "2 of 1 are there"),
        (status(row(1, None), checkpoint={"latest": {"step": 4}, "list": [{"step": 3}]}), "the list has"),
    ],
)
def test_what_contradicts_itself_is_seen(bad: Fields, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        account.check("job", bad)
