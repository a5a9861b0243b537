"""Requests for a checkpoint, the cadence, and the news of completed steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.client import checkpoint, environment
from tests.unit.client.listening import Listening, eventually


@pytest.fixture
def asked(sidecar: Listening) -> Listening:
    """A sidecar that has asked for a checkpoint."""
    assert checkpoint.requested() is None
    eventually(lambda: sidecar.of_type("subscribe"))
    sidecar.say(type="checkpoint", id="drain-1", deadline="2026-11-22T10:00:00Z")
    eventually(checkpoint.requested)
    return sidecar


def test_a_request_stays_until_it_is_served(asked: Listening) -> None:
    request = checkpoint.requested()
    assert request == checkpoint.Request("drain-1", "2026-11-22T10:00:00Z")
    assert checkpoint.requested() == request
    checkpoint.served(request)
    assert checkpoint.requested() is None


def test_a_request_that_is_repeated_is_served_once(asked: Listening) -> None:
    request = checkpoint.requested()
    assert request is not None
    checkpoint.served(request)
    asked.say(type="checkpoint", id="drain-1", deadline="2026-11-22T10:00:00Z")
    asked.say(type="cadence", everySteps=3)
    eventually(lambda: checkpoint.every_steps() == 3)
    assert checkpoint.requested() is None


def test_serving_an_older_request_keeps_the_newer(asked: Listening) -> None:
    first = checkpoint.requested()
    assert first is not None
    asked.say(type="checkpoint", id="drain-2", deadline="2026-11-22T11:00:00Z")
    eventually(lambda: checkpoint.requested() != first)
    checkpoint.served(first)
    assert checkpoint.requested() == checkpoint.Request("drain-2", "2026-11-22T11:00:00Z")


def test_the_cadence_is_the_jobs_until_somebody_changes_it(sidecar: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.EVERY_STEPS, "250")
    assert checkpoint.every_steps() == 250
    eventually(lambda: sidecar.of_type("subscribe"))
    for nonsense in (0, -1, True, "9", None):
        sidecar.say(type="cadence", everySteps=nonsense)
    sidecar.say(type="checkpoint", id="after", deadline="")
    eventually(checkpoint.requested)
    assert checkpoint.every_steps() == 250
    sidecar.say(type="cadence", everySteps=40)
    eventually(lambda: checkpoint.every_steps() == 40)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_completed_step_is_told_by_its_relative_path(
    sidecar: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    monkeypatch.setenv(environment.CHECKPOINT_DIR, str(tmp_path))
    checkpoint.complete(300, tmp_path / "weights" / "300" if absolute else "weights/300")
    eventually(lambda: sidecar.of_type("complete"))
    assert sidecar.of_type("complete") == [{"type": "complete", "step": 300, "path": "weights/300"}]


@pytest.mark.parametrize("path", ["..", ".", "", "/etc", "a/../../b"])
def test_a_step_outside_the_checkpoint_directory_is_refused(
    sidecar: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv(environment.CHECKPOINT_DIR, str(tmp_path))
    with pytest.raises(ValueError, match=f"must be a directory inside {tmp_path}"):
        checkpoint.complete(1, path)
