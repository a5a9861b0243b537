"""How a job starts: asked, written ahead, created in order, told once it runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import structs

from holdfast.api.wire import StoreState
from holdfast.planning.observed import CustomObject, DryRunResult, Refusal
from holdfast.planning.plan import PODS, Create, Patch
from holdfast.training.plan import plan
from tests.unit.training import builders as b


def test_the_first_pass_asks_whether_the_pod_would_be_accepted() -> None:
    result = plan(b.observed(b.job()), b.NOW)
    assert result.dry_run is not None
    assert result.dry_run.manifest["metadata"]["name"] == "digits-0-0-1"
    assert not result.actions
    assert result.write_ahead is None


def test_what_was_accepted_for_another_job_of_the_same_form_is_not_asked_again() -> None:
    question = plan(b.observed(b.job()), b.NOW).dry_run
    assert question is not None
    known = frozenset({question.form})
    twin = b.job(uid="00000000-0000-0000-0000-00000000beef", checkpoint={"destination": "gs://bucket/twin"})
    assert plan(replace(b.observed(twin), accepted_forms=known), b.NOW).dry_run is None
    other = b.job(activeDeadline="1h", template={"spec": {"containers": [{"name": "trainer", "image": "typo"}]}})
    asked = plan(replace(b.observed(other), accepted_forms=known), b.NOW).dry_run
    assert asked is not None
    assert asked.form != question.form


def test_another_namespace_is_another_form() -> None:
    job = b.job()
    elsewhere = structs.replace(job, metadata=structs.replace(job.metadata, namespace="other"))
    questions = [plan(b.observed(item), b.NOW).dry_run for item in (job, elsewhere)]
    assert len({question.form for question in questions if question is not None}) == 2


def test_a_refusal_of_the_own_pod_counts_more_than_an_answer_to_another_job() -> None:
    question = plan(b.observed(b.job()), b.NOW).dry_run
    assert question is not None
    answer = DryRunResult(f"{b.UID}/1", 403, "Forbidden", "quota", b.NOW)
    seen = replace(b.observed(b.job(), dry_run=answer), accepted_forms=frozenset({question.form}))
    assert b.condition(b.wanted(plan(seen, b.NOW).status), "Accepted")["status"] == "False"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("pods is forbidden: exceeded quota: q, requested: pods=1", "QuotaExceeded"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "PodSecurityRefused"),
        (
            'pods "x" is forbidden: error looking up service account team/x: serviceaccount "x" not found',
            "ServiceAccountMissing",
        ),
        ("Pod is invalid: spec.containers[0].image: Required value", "TemplateRefused"),
    ],
)
def test_a_refused_pod_is_told_and_nothing_is_created(message: str, reason: str) -> None:
    answer = DryRunResult(f"{b.UID}/1", 403, "Forbidden", message, b.NOW)
    result = plan(b.observed(b.job(), dry_run=answer), b.NOW)
    told = b.condition(b.wanted(result.status), "Accepted")
    assert (told["status"], told["reason"]) == ("False", reason)
    assert message[:40] in told["message"]
    assert not result.actions
    assert result.write_ahead is None
    later = plan(b.observed(b.job(), dry_run=answer), b.NOW + timedelta(seconds=31))
    assert later.dry_run is not None, "what the cluster refuses today it may take later"


def test_pods_and_service_are_created_once_the_attempt_is_written() -> None:
    result = plan(b.observed(b.job(b.attempt_status(created=False, phase="Starting"))), b.NOW)
    assert b.created(result) == ["digits", "digits-0-0-1", "digits-0-1-1"]
    assert result.write_ahead is None
    pod = result.actions[1]
    assert isinstance(pod, Create)
    assert pod.resource == PODS
    assert pod.manifest["spec"]["hostname"] == "digits-0-0"
    assert pod.manifest["metadata"]["ownerReferences"][0]["uid"] == b.UID


def test_a_crash_between_two_creates_is_made_up_for() -> None:
    seen = b.observed(
        b.job(b.attempt_status(created=False, phase="Starting")), b.pod(0, phase="Pending"), service=b.service()
    )
    assert b.created(plan(seen, b.NOW)) == ["digits-0-1-1"]


def test_the_service_is_raised_to_the_attempt_and_never_lowered() -> None:
    at_two = b.job(b.attempt_status(2, created=False, phase="Restarting"))
    raised = plan(b.observed(at_two, service=b.service(1)), b.NOW).actions[0]
    assert isinstance(raised, Patch)
    assert raised.body["metadata"] == {"resourceVersion": "3"}
    assert raised.body["spec"]["selector"]["holdfast.dev/attempt"] == "2"
    ahead = plan(b.observed(at_two, service=b.service(3)), b.NOW)
    assert not [action for action in ahead.actions if isinstance(action, Patch)]


def test_somebody_elses_service_is_left_alone_and_named() -> None:
    starting = b.job(b.attempt_status(created=False, phase="Starting"))
    seen = b.observed(
        starting, service=b.service(managed=False), waiting=("CreateRefused", b.NOW - timedelta(seconds=11))
    )
    result = plan(seen, b.NOW)
    assert not result.actions
    assert b.wanted(result.status)["reason"] == "CreateRefused"


def test_plain_jobs_need_no_service() -> None:
    plain = b.job(b.attempt_status(created=False, phase="Starting"), runtime={"framework": "Plain"})
    assert b.created(plan(b.observed(plain), b.NOW)) == ["digits-0-0-1", "digits-0-1-1"]


def test_running_is_written_once_with_where_it_started_from() -> None:
    pods = (b.running(0), b.running(1))
    starting = b.job(b.attempt_status(created=False, phase="Starting"))
    told = tuple(b.report(pod, restored_step=300, run=2) for pod in pods)
    seen = b.observed(starting, *pods, reports=told, service=b.service())
    made = plan(seen, b.NOW)
    status = b.wanted(made.status)
    assert status["phase"] == "Running"
    assert made.settled, "to see it written is no reason for a pass"
    assert status["workers"] == {"desired": 2, "created": 2, "running": 2, "succeeded": 0}
    assert status["checkpoint"]["restoredStep"] == 300
    assert b.condition(status, "Restored")["message"] == "All workers restored step 300."
    again = replace(seen, object=replace_status(starting, status))
    quiet = plan(again, b.NOW)
    assert quiet.status is not None
    assert quiet.status.wanted == quiet.status.observed
    assert not quiet.actions
    assert not quiet.events
    assert quiet.commands == made.commands
    assert quiet.requeue_after_s is not None
    assert made.requeue_after_s is not None
    assert quiet.requeue_after_s >= made.requeue_after_s, "and such a pass would only wait for the same"


def replace_status(job: CustomObject, status: dict[str, object]) -> CustomObject:
    return CustomObject(metadata=job.metadata, spec=job.spec, status=status)


def test_the_first_write_waits_a_little_for_the_sidecars() -> None:
    pods = (b.running(0), b.running(1))
    starting = b.job(b.attempt_status(created=False, phase="Starting"))
    first = plan(b.observed(starting, *pods, service=b.service()), b.NOW)
    assert first.status is None
    assert first.waiting == "FirstReports"
    waited = ("FirstReports", b.NOW - timedelta(seconds=6))
    later = plan(b.observed(starting, *pods, service=b.service(), waiting=waited), b.NOW)
    assert b.wanted(later.status)["phase"] == "Running", "an operator without reports still tells that the job runs"


def test_a_wait_is_told_after_ten_seconds() -> None:
    lonely = b.pod(
        0, node="", phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]
    )
    starting = b.job(b.attempt_status(created=False, phase="Starting", reason="AwaitingPods"))
    pods = (lonely, b.pod(1, node="", phase="Pending"))
    early = plan(b.observed(starting, *pods, service=b.service(), waiting=("Unschedulable", b.NOW)), b.NOW)
    assert b.wanted(early.status)["reason"] == "AwaitingPods"
    assert early.requeue_after_s == 10.0
    waited = ("Unschedulable", b.NOW - timedelta(seconds=10))
    late = plan(b.observed(starting, *pods, service=b.service(), waiting=waited), b.NOW)
    assert b.wanted(late.status)["reason"] == "Unschedulable"
    assert "0/3 nodes" in b.wanted(late.status)["message"]


def test_a_missing_bucket_is_told_at_once() -> None:
    pods = (b.pod(0, phase="Pending"), b.pod(1, phase="Pending"))
    store = StoreState(ready=False, reason="BucketNotFound", message="Bucket gs://bucket does not exist: create it.")
    told = (b.report(pods[0], role="Restore", phase="Restoring", store=store),)
    starting = b.job(b.attempt_status(created=False, phase="Starting", reason="AwaitingPods"))
    status = b.wanted(plan(b.observed(starting, *pods, reports=told, service=b.service()), b.NOW).status)
    ready = b.condition(status, "CheckpointStoreReady")
    assert (ready["status"], ready["reason"]) == ("False", "BucketNotFound")
    assert status["reason"] == "BucketNotFound"


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    pods = (
        b.pod(0, phase="Pending", containerStatuses=[b.container("trainer", **waiting)]),
        b.pod(1, phase="Pending"),
    )
    starting = b.job(b.attempt_status(created=False, phase="Starting", reason="AwaitingPods"))
    waited = ("ImagePullFailed", b.NOW - timedelta(seconds=12))
    status = b.wanted(plan(b.observed(starting, *pods, service=b.service(), waiting=waited), b.NOW).status)
    assert status["reason"] == "ImagePullFailed"


def test_refused_creates_are_told_and_tried_again_at_a_steady_pace() -> None:
    starting = b.job(b.attempt_status(created=False, phase="Starting", reason="AwaitingPods"))
    refused = Refusal(PODS, "digits-0-0-1", 403, "Forbidden", "exceeded quota: pods", b.NOW)
    waited = ("QuotaExceeded", b.NOW - timedelta(seconds=12))
    seen = b.observed(starting, refusals=(refused,), service=b.service(), waiting=waited)
    early = plan(seen, b.NOW + timedelta(seconds=1))
    assert not early.actions
    assert b.wanted(early.status)["reason"] == "QuotaExceeded"
    assert b.created(plan(seen, b.NOW + timedelta(seconds=10))) == ["digits-0-0-1", "digits-0-1-1"]


def test_pods_of_a_former_job_of_the_same_name_are_waited_for() -> None:
    other = "ffffffff-0000-0000-0000-000000000009"
    starting = b.job(b.attempt_status(created=False, phase="Starting"))
    waited = ("PreviousJobTerminating", b.NOW - timedelta(seconds=12))
    result = plan(b.observed(starting, b.running(0, uid=other), waiting=waited), b.NOW)
    assert not result.actions, "the garbage collector deletes them, not the new job"
    assert b.wanted(result.status)["reason"] == "PreviousJobTerminating"


def test_a_spec_that_cannot_be_read_changes_nothing_but_the_status() -> None:
    odd = b.job(accelerator={"gpu": {}})
    result = plan(b.observed(odd), b.NOW)
    assert not result.actions
    assert b.condition(b.wanted(result.status), "Accepted")["reason"] == "SpecUnreadable"
