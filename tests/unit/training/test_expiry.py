"""`spec.ttlAfterFinished`: the object goes when its time has come, as it was seen, and never before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api import durations
from holdfast.planning.observed import CustomObject
from holdfast.planning.plan import TRAINING_JOBS, Delete, Plan
from holdfast.training.plan import plan
from tests.unit.training import builders as b

GONE = Delete(TRAINING_JOBS, "team", "digits", b.UID, resource_version="7")


def ended(kind: str, ttl: str | None, **status: Any) -> CustomObject:
    condition = {"type": kind, "status": "True", "reason": "X", "lastTransitionTime": b.stamp(b.NOW)}
    return b.job(
        b.attempt_status(phase=kind, conditions=[condition], **status), **({"ttlAfterFinished": ttl} if ttl else {})
    )


@pytest.mark.parametrize("kind", ["Succeeded", "Failed"])
@given(st.integers(0, 10**6), st.integers(-(10**6), 10**6))
def test_it_goes_at_its_moment_and_not_before(kind: str, ttl_s: int, late_s: int) -> None:
    result = plan(b.observed(ended(kind, durations.text(ttl_s))), b.NOW + timedelta(seconds=ttl_s + late_s))
    if late_s >= 0:
        assert result == Plan(actions=(GONE,))
    else:
        assert result == Plan(requeue_after_s=float(-late_s)), "nothing is written while it waits"


@pytest.mark.parametrize("kind", ["Succeeded", "Failed"])
def test_it_is_kept_where_nothing_is_said(kind: str) -> None:
    assert plan(b.observed(ended(kind, None)), b.NOW + timedelta(days=9999)) == Plan()


def test_a_failed_job_goes_only_when_nothing_of_it_runs() -> None:
    one = b.running(0)
    late = b.NOW + timedelta(seconds=40)
    stopping = plan(b.observed(ended("Failed", "0s"), one, reports=(b.report(one, pending_bytes=3, at=late),)), late)
    assert GONE not in stopping.actions
    assert stopping.commands or stopping.actions
    over = plan(b.observed(ended("Failed", "0s"), b.failed(0), b.failed(1)), b.NOW)
    assert over.actions == (GONE,), "pods that have ended hold nothing back: they go with the object"


@pytest.mark.parametrize("phase", ["Running", "Suspended", "Refused", "Restarting"])
def test_a_job_that_has_not_ended_is_never_deleted(phase: str) -> None:
    job = b.job(b.attempt_status(phase=phase), ttlAfterFinished="0s", suspend=phase == "Suspended")
    result = plan(b.observed(job), b.NOW + timedelta(days=365))
    assert not [action for action in result.actions if isinstance(action, Delete)]


def test_a_condition_that_is_false_is_no_end() -> None:
    condition = {"type": "Failed", "status": "False", "reason": "X", "lastTransitionTime": b.stamp(b.NOW)}
    job = b.job(b.attempt_status(conditions=[condition]), ttlAfterFinished="0s")
    result = plan(b.observed(job, b.running(0), b.running(1), service=b.service()), b.NOW)
    assert not result.actions
