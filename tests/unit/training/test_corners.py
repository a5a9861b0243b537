"""Corners that were found the hard way: each of these once did the wrong thing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.api.wire import Outcome, Progress, StoreState, encode
from holdfast.planning.observed import Pod, Refusal
from holdfast.planning.plan import PODS, Delete
from holdfast.training.plan import plan
from holdfast.training.pools import NODE_POOL
from tests.unit.training import builders as b
from tests.unit.training.test_pods import SELECTOR, TPU, pool

LATER = b.NOW + timedelta(seconds=75)
WORDS = Outcome(kind="Finished", last_complete=100, committed=100)


def ended(slot: int, *, deleting: bool, finished: float) -> Pod:
    """A pod whose trainer exited 0 `finished` seconds after somebody asked for its deletion."""
    trainer = {"exitCode": 0, "finishedAt": b.stamp(b.NOW + timedelta(seconds=finished))}
    more: dict[str, Any] = {"deleting": b.NOW + timedelta(seconds=30), "grace": 30} if deleting else {}
    sidecar = {"exitCode": 0, "message": encode(WORDS).decode()}
    return b.pod(
        slot,
        phase="Succeeded",
        containerStatuses=[b.container("trainer", terminated=trainer)],
        initContainerStatuses=[b.container("holdfast-sidecar", terminated=sidecar)],
        **more,
    )


def test_a_trainer_that_exits_0_on_sigterm_has_not_succeeded() -> None:
    stopped = (ended(0, deleting=True, finished=2), ended(1, deleting=True, finished=2))
    status = b.wanted(plan(b.observed(b.job(b.attempt_status()), *stopped), b.NOW).write_ahead)
    assert status["attempts"][0]["cause"] == "PodDeleted"
    before = (ended(0, deleting=True, finished=-2), ended(1, deleting=True, finished=-2))
    done = b.wanted(plan(b.observed(b.job(b.attempt_status()), *before), b.NOW).status)
    assert done["phase"] == "Succeeded", "it had ended before anybody asked"


def test_a_suspended_job_does_not_succeed_by_being_stopped() -> None:
    row = {"attempt": 1, "startedAt": b.stamp(b.NOW), "endedAt": b.stamp(b.NOW), "cause": "Suspended"}
    suspending = b.job(b.attempt_status(attempts=[row]), suspend=True)
    result = plan(b.observed(suspending, b.succeeded(0, WORDS), b.succeeded(1, WORDS)), b.NOW)
    assert b.wanted(result.write_ahead)["phase"] != "Succeeded"


@pytest.mark.parametrize("odd", [Progress(step=5, total=-1), Progress(step=-1), Progress(step=2**60)])
def test_odd_progress_stops_nothing(odd: Progress) -> None:
    pods = (b.running(0), b.running(1))
    seen = b.observed(b.job(b.attempt_status()), *pods, reports=(b.report(pods[0], progress=odd),), service=b.service())
    assert b.wanted(plan(seen, LATER).status)["phase"] == "Running"


def test_a_refusal_of_what_exists_by_now_is_void() -> None:
    pods = (b.running(0), b.running(1))
    old = Refusal(PODS, "digits-0-0-1", 0, "", "no answer", b.NOW)
    starting = b.job(b.attempt_status(created=False, phase="Starting"))
    told = tuple(b.report(pod) for pod in pods)
    seen = b.observed(starting, *pods, refusals=(old,), reports=told, service=b.service())
    assert b.wanted(plan(seen, LATER).status)["phase"] == "Running"


def test_a_question_without_an_answer_is_told_and_never_hot() -> None:
    first = plan(b.observed(b.job()), b.NOW)
    assert first.requeue_after_s is None
    waited = (first.waiting, b.NOW - timedelta(seconds=11))
    later = plan(b.observed(b.job(), waiting=waited), b.NOW)
    assert later.dry_run is not None
    assert b.wanted(later.status)["reason"] == "DryRunUnanswered"


def test_a_native_sidecar_of_the_template_ends_as_it_likes() -> None:
    done = b.container("trainer", terminated={"exitCode": 0})
    proxy = b.container("proxy", terminated={"exitCode": 143})
    flushing = b.container("holdfast-sidecar", running={})
    one = b.pod(0, phase="Running", containerStatuses=[done], initContainerStatuses=[proxy, flushing])
    result = plan(b.observed(b.job(b.attempt_status()), one, b.running(1), service=b.service()), b.NOW)
    assert result.write_ahead is None


def test_a_pool_that_the_pod_cannot_use_is_not_chosen() -> None:
    labels = {**SELECTOR, NODE_POOL: "a", "cloud.google.com/gke-spot": "true"}
    spot = {f"spot-{n}": b.node(f"spot-{n}", labels=labels) for n in range(4)}
    starting = b.job(b.attempt_status(created=False, phase="Starting"), accelerator=TPU)
    result = plan(b.observed(starting, service=b.service(), nodes={**spot, **pool("b", 4)}), b.NOW)
    chosen = {spec["nodeSelector"][NODE_POOL] for spec in b.created_specs(result)}
    assert chosen == {"b"}


def test_a_pool_that_the_template_names_is_the_only_one() -> None:
    template = {"spec": {"nodeSelector": {NODE_POOL: "mine"}, "containers": [{"name": "trainer", "image": "t"}]}}
    starting = b.job(b.attempt_status(created=False, phase="Starting"), accelerator=TPU, template=template)
    result = plan(b.observed(starting, service=b.service(), nodes={**pool("aaa", 4), **pool("mine", 4)}), b.NOW)
    chosen = {spec["nodeSelector"][NODE_POOL] for spec in b.created_specs(result)}
    assert chosen == {"mine"}


def test_followers_wait_for_a_leader_that_is_not_bound_even_where_a_pool_is_free() -> None:
    starting = b.job(b.attempt_status(created=False, phase="Starting"), accelerator=TPU)
    leader = b.pod(0, node="", phase="Pending")
    assert b.created(plan(b.observed(starting, leader, service=b.service(), nodes=pool("p", 4)), b.NOW)) == []


def test_a_new_leader_waits_for_the_first_reports_before_it_deletes() -> None:
    row = {"attempt": 1, "startedAt": b.stamp(b.NOW), "endedAt": b.stamp(b.NOW), "cause": "Suspended"}
    suspending = b.job(b.attempt_status(attempts=[row]), suspend=True)
    early = plan(b.observed(suspending, b.running(0), leading_since=b.NOW), b.NOW + timedelta(seconds=5))
    assert not early.actions
    assert early.commands
    late = plan(b.observed(suspending, b.running(0), leading_since=b.NOW), b.NOW + timedelta(seconds=35))
    assert [action.grace_s for action in late.actions if isinstance(action, Delete)] == [30]


@pytest.mark.parametrize("known", [0, 3])
def test_pods_that_status_does_not_know_of_lead_behind_them(known: int) -> None:
    status = b.attempt_status(known, created=False, phase="Starting") if known else {}
    result = plan(b.observed(b.job(status), b.running(0, attempt=4), b.running(1, attempt=4)), b.NOW)
    assert not result.actions, "an old view must not delete what is newer"
    assert b.wanted(result.write_ahead)["attempt"] == 5


def test_the_last_restart_is_not_spent_on_what_may_be_a_lost_node() -> None:
    job = b.job(b.attempt_status(), recovery={"maxRestarts": 0})
    survivor = b.failed(0, code=1)
    early = plan(b.observed(job, survivor, b.running(1)), b.NOW + timedelta(seconds=10))
    assert early.write_ahead is None
    shown = plan(b.observed(job, survivor, b.running(1, node="gone")), b.NOW + timedelta(seconds=40))
    assert b.wanted(shown.write_ahead)["attempts"][0]["cause"] == "NodeLost"
    late = plan(b.observed(job, survivor, b.running(1)), b.NOW + timedelta(seconds=60))
    assert b.condition(b.wanted(late.write_ahead), "Failed")["reason"] == "MaxRestartsExceeded"


def test_an_eviction_for_pressure_is_told_and_counted() -> None:
    target = [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]
    evicted = b.pod(1, phase="Failed", reason="Evicted", message="low on disk", conditions=target)
    status = b.wanted(plan(b.observed(b.job(b.attempt_status()), b.running(0), evicted), b.NOW).write_ahead)
    assert status["attempts"][0]["cause"] == "Evicted"
    assert status["restarts"] == 1


def test_a_bucket_that_flickers_is_not_written_every_time() -> None:
    pods = (b.running(0), b.running(1))
    away = StoreState(ready=False, reason="StoreUnavailable", message="503")
    seen = b.observed(b.job(b.attempt_status()), *pods, reports=(b.report(pods[0], store=away),), service=b.service())
    assert b.condition(b.wanted(plan(seen, b.NOW + timedelta(seconds=5)).status), "CheckpointStoreReady") == {}
    told = b.wanted(plan(seen, b.NOW + timedelta(seconds=11)).status)
    assert b.condition(told, "CheckpointStoreReady")["reason"] == "StoreUnavailable"


def test_suspended_is_taken_back_on_a_job_that_was_created_suspended() -> None:
    at = b.stamp(b.NOW)
    held = {"conditions": [{"type": "Suspended", "status": "True", "reason": "Suspended", "lastTransitionTime": at}]}
    status = b.wanted(plan(b.observed(b.job(held), dry_run=b.accepted()), b.NOW).write_ahead)
    assert b.condition(status, "Suspended")["status"] == "False"


def test_a_deletion_that_takes_long_says_why() -> None:
    going = b.job(b.attempt_status(), deleted=b.NOW)
    one = b.running(0)
    told = (b.report(one, pending_bytes=5, at=LATER),)
    result = plan(b.observed(going, one, reports=told), LATER)
    assert b.wanted(result.status)["reason"] == "Deleting"
