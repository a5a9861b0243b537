"""The deletion of a job: a stop of ours first, and never one that blocks for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.planning.plan import PODS, TRAINING_JOBS, Delete, Patch, Plan
from holdfast.training.plan import plan
from tests.unit.training import builders as b


def patch(result: Plan) -> list[str]:
    (action,) = result.actions
    assert isinstance(action, Patch)
    assert action.resource == TRAINING_JOBS
    assert action.body["metadata"]["resourceVersion"] == "7"
    return list(action.body["metadata"]["finalizers"])


def test_a_job_with_checkpoints_is_guarded_before_its_first_attempt() -> None:
    fresh = plan(b.observed(b.job(finalizers=["other"]), dry_run=b.accepted()), b.NOW)
    assert patch(fresh) == ["other", "holdfast.dev/stop"]
    job = b.job(finalizers=[], checkpoint=None)
    bare = plan(b.observed(job, dry_run=b.accepted(), service=b.service()), b.NOW)
    assert len(b.created(bare)) == 2, "without checkpoints the pods have a short grace of their own"


def test_a_deleted_job_is_stopped_and_then_let_go() -> None:
    going = b.job(b.attempt_status(), deleted=b.NOW)
    pods = (b.running(0), b.running(1))
    ask = plan(b.observed(going, *pods, reports=tuple(b.report(pod) for pod in pods)), b.NOW)
    assert not ask.actions
    order = ask.commands["pod-0-1-1"][0]
    assert order.kind == "Drain"
    told = tuple(b.report(pod, acknowledged=(order.id,), phase="Flushed") for pod in pods)
    stop = plan(b.observed(going, *pods, reports=told), b.NOW)
    assert stop.actions == tuple(Delete(PODS, "team", f"digits-0-{n}-1", f"pod-{n}-1-1", 30) for n in (0, 1))
    assert patch(plan(b.observed(going), b.NOW)) == []


@pytest.mark.parametrize("pods", [(), (b.failed(0), b.failed(1))])
def test_pods_that_have_ended_hold_nothing_back(pods: Any) -> None:
    assert patch(plan(b.observed(b.job(b.attempt_status(), deleted=b.NOW), *pods), b.NOW)) == []


def test_pods_in_mid_start_are_deleted_with_a_short_grace() -> None:
    restoring = b.pod(0, phase="Pending", initContainerStatuses=[b.container("holdfast-restore", running={})])
    result = plan(b.observed(b.job(b.attempt_status(), deleted=b.NOW), restoring), b.NOW)
    assert result.actions == (Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 30),)


def test_a_lost_machine_does_not_block_the_deletion() -> None:
    going = b.job(b.attempt_status(), deleted=b.NOW)
    lost = b.running(0, node="gone", deleting=b.NOW, grace=30)
    assert plan(b.observed(going, lost), b.NOW).actions == (Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 0),)
    sick = {"n1": b.node("n1", unready_since=b.NOW)}
    there = b.running(0, deleting=b.NOW, grace=30)
    late = plan(b.observed(going, there, nodes=sick), b.NOW + timedelta(seconds=60))
    assert late.actions == (Delete(PODS, "team", "digits-0-0-1", "pod-0-1-1", 0),)


def test_a_job_whose_spec_cannot_be_read_can_be_deleted() -> None:
    assert patch(plan(b.observed(b.job(deleted=b.NOW, accelerator={"gpu": {}})), b.NOW)) == []


def test_somebody_elses_finalizer_creates_nothing() -> None:
    held = b.job(b.attempt_status(created=False), deleted=b.NOW, finalizers=["other"])
    assert plan(b.observed(held), b.NOW) == Plan()
