"""What the cluster refuses, in the API server's own words: a stable reason, and what to change even of long texts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from holdfast.planning.observed import CustomObject, DryRunResult, Refusal
from holdfast.planning.plan import CLAIMS, PODS
from holdfast.training import pods
from holdfast.training.plan import plan
from holdfast.training.refusals import refusal
from holdfast.training.view import look
from tests.unit.training import builders as b
from tests.unit.training.volume_builders import volume

_FORBIDDEN = 'pods "digits-0-0-1" is forbidden: '
# As Kubernetes 1.36 says it.
QUOTA = f"{_FORBIDDEN}exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1"
YOUNG = f"{_FORBIDDEN}status unknown for quota: young, resources: pods"
UNNAMED = f"{_FORBIDDEN}failed quota: small: must specify limits.cpu for: holdfast-restore,holdfast-sidecar"
SECURITY = (
    f'{_FORBIDDEN}violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "trainer" '
    "must set securityContext.allowPrivilegeEscalation=false)"
)
ACCOUNT = f'{_FORBIDDEN}error looking up service account team/train: serviceaccount "train" not found'
RANGE = f"{_FORBIDDEN}maximum memory usage per Container is 128Mi, but limit is 256Mi"
RATIO = f"{_FORBIDDEN}memory max limit to request ratio per Container is 2, but provided ratio is 8.000000"
TYPO = 'Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].imgae"'
CLASS = f"{_FORBIDDEN}no PriorityClass with name high was found"

CASES = [
    (QUOTA, "QuotaExceeded", "Pending", ("small", "Raise the quota")),
    (YOUNG, "QuotaExceeded", "Pending", ("young", "goes on by itself")),
    (UNNAMED, "QuotaExceeded", "Pending", ("small", "limits.cpu", "LimitRange with defaults")),
    (SECURITY, "PodSecurityRefused", "Pending", ("restricted:latest", "securityContext")),
    (ACCOUNT, "ServiceAccountMissing", "Pending", ('serviceaccount "train"', "Create the service account")),
    (RANGE, "LimitRangeExceeded", "Pending", ("128Mi", "Change the LimitRange")),
    (RATIO, "LimitRangeExceeded", "Pending", ("ratio", "Change the LimitRange")),
    (TYPO, "TemplateRefused", "Refused", ("spec.containers[0].imgae", "Correct spec.template")),
    (CLASS, "TemplateRefused", "Refused", ("PriorityClass with name high", "in the cluster")),
]


def dry_run(text: str, *, age_s: float = 0.0) -> DryRunResult:
    return DryRunResult(f"{b.UID}/1", 403, "Forbidden", text, b.NOW - timedelta(seconds=age_s))


@pytest.mark.parametrize(("text", "reason", "phase", "told"), CASES)
def test_before_the_first_attempt_it_is_told_in_accepted(
    text: str, reason: str, phase: str, told: tuple[str, ...]
) -> None:
    result = plan(b.observed(b.job(), dry_run=dry_run(text)), b.NOW)
    status = b.wanted(result.status)
    accepted = b.condition(status, "Accepted")
    assert (accepted["status"], accepted["reason"], status["phase"]) == ("False", reason, phase)
    assert all(words in accepted["message"] for words in told), accepted["message"]
    assert not result.actions, "nothing is created"
    assert result.requeue_after_s == 30
    again = plan(b.observed(b.job(), dry_run=dry_run(text, age_s=30)), b.NOW)
    assert again.dry_run is not None, "the question is asked again"
    taken = plan(b.observed(b.job(status), dry_run=b.accepted()), b.NOW)
    assert b.condition(b.wanted(taken.write_ahead), "Accepted")["status"] == "True", "and the job goes on by itself"


@pytest.mark.parametrize(("text", "reason", "phase", "told"), [case for case in CASES if case[2] == "Pending"])
def test_of_a_later_attempt_it_is_told_in_running(text: str, reason: str, phase: str, told: tuple[str, ...]) -> None:
    starting = b.job(b.attempt_status(2, created=False, phase="Restarting", reason="WorkerFailed"))
    refused = Refusal(PODS, "digits-0-0-2", 403, "Forbidden", text, b.NOW)
    seen = b.observed(
        starting, refusals=(refused,), service=b.service(2), waiting=(reason, b.NOW - timedelta(seconds=10))
    )
    status = b.wanted(plan(seen, b.NOW).status)
    running = b.condition(status, "Running")
    assert (running["status"], running["reason"]) == ("False", reason)
    assert all(words in running["message"] for words in told)
    assert status["phase"] == "Restarting"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1])
def test_what_to_do_survives_a_text_without_end(case: tuple[str, str, str, tuple[str, ...]]) -> None:
    text, _, _, told = case
    endless = f"{text}, {'and so on, ' * 5000}"
    status = b.wanted(plan(b.observed(b.job(), dry_run=dry_run(endless)), b.NOW).status)
    message = b.condition(status, "Accepted")["message"]
    assert len(message) <= 1000
    assert told[-1] in message


@pytest.mark.parametrize("kind", [None, {"memory": {"sizeLimit": "8Gi"}}, {"disk": {"sizeLimit": "8Gi"}}])
def test_a_limit_range_is_told_with_what_our_containers_of_this_job_ask_for(kind: dict[str, Any] | None) -> None:
    trainer = {"name": "trainer", "image": "t", "resources": {"limits": {"memory": "24Gi"}}}
    changes = volume(kind, template={"spec": {"containers": [trainer]}}) if kind else {}
    job = b.job(**changes)
    view = look(b.observed(job), job, b.NOW)
    containers = pods.pod(view, view.slots[0], 1)["spec"]["initContainers"]
    message = b.condition(b.wanted(plan(b.observed(job, dry_run=dry_run(RANGE)), b.NOW).status), "Accepted")["message"]
    for container in containers:
        asked = container["resources"]
        assert f"{asked['requests']['cpu']} of CPU" in message
        assert f"{asked['requests']['memory']} of memory" in message
        assert f" {asked['limits']['memory']}" in message
    told = set(re.findall(r"\d+[MGk]i", message.partition("Holdfast's own")[2]))
    assert told == {amount["memory"] for one in containers for amount in one["resources"].values()}


def test_a_limit_range_of_a_job_without_checkpoints_names_no_containers_of_ours() -> None:
    job = b.job(checkpoint=None)
    message = b.condition(b.wanted(plan(b.observed(job, dry_run=dry_run(RANGE)), b.NOW).status), "Accepted")["message"]
    assert "Holdfast" not in message
    assert "Change the LimitRange" in message


def test_a_limit_range_that_a_claim_exceeds_speaks_of_its_size() -> None:
    said = "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 5Gi"
    text = f'persistentvolumeclaims "c" is forbidden: {said}'
    wait = refusal(Refusal(CLAIMS, "c", 403, "Forbidden", text, b.NOW), "Holdfast's own containers")
    assert wait.reason.value == "LimitRangeExceeded"
    assert "checkpoint.volume.claimTemplate" in wait.message
    assert "containers" not in wait.message


def test_a_refusal_is_told_once_and_not_with_every_answer() -> None:
    first = plan(b.observed(b.job(), dry_run=dry_run(QUOTA)), b.NOW)
    assert [event.reason for event in first.events] == ["QuotaExceeded"]
    more = QUOTA.replace("used: pods=1", "used: pods=2")
    second = plan(b.observed(b.job(b.wanted(first.status)), dry_run=dry_run(more)), b.NOW)
    assert not second.events


def test_a_service_account_that_is_a_moment_late_is_not_told() -> None:
    made = _created(b.NOW - timedelta(seconds=1))
    early = plan(b.observed(made, dry_run=dry_run(ACCOUNT)), b.NOW)
    assert (early.status, early.requeue_after_s) == (None, 2.0)
    assert plan(b.observed(made, dry_run=dry_run(ACCOUNT, age_s=2)), b.NOW).dry_run is not None
    late = plan(b.observed(made, dry_run=dry_run(ACCOUNT)), b.NOW + timedelta(seconds=10))
    assert b.wanted(late.status)["reason"] == "ServiceAccountMissing"


def _created(at: datetime) -> CustomObject:
    job = b.job()
    return msgspec.structs.replace(job, metadata=msgspec.structs.replace(job.metadata, creation_timestamp=at))


def test_a_text_that_is_not_known_is_quoted() -> None:
    other = Refusal(PODS, "digits-0-0-1", 403, "Forbidden", "the moon is wrong", b.NOW)
    assert refusal(other).message == "The API server refuses Pod digits-0-0-1: the moon is wrong."
    assert refusal(replace(other, message="")).reason.value == "CreateRefused"


CLAIMED = {
    "spec": {
        "containers": [{"name": "trainer", "image": "t"}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "corpus"}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
}


@pytest.mark.parametrize(
    ("said", "reason", "told"),
    [
        ('0/3 nodes are available: persistentvolumeclaim "corpus" not found.', "ClaimNotFound", "Claim corpus,"),
        ('persistentvolumeclaim "corpus" is being deleted', "ClaimNotFound", "corpus, which is being deleted"),
        (
            'persistentvolumeclaim "corpus" bound to non-existent persistentvolume "pv-7"',
            "ClaimLost",
            "corpus, which has lost its volume",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes",
            "ClaimPending",
            "PersistentVolumeClaim corpus, which has no volume yet",
        ),
        ("0/3 nodes are available: 3 Insufficient cpu.", "Unschedulable", "Insufficient cpu. Add capacity"),
    ],
)
def test_a_claim_that_keeps_a_worker_off_every_node_is_named(said: str, reason: str, told: str) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    pods = (b.pod(0, node="", phase="Pending", conditions=[condition]), b.pod(1, node="", phase="Pending"))
    starting = b.job(b.attempt_status(created=False, phase="Starting", reason="AwaitingPods"), template=CLAIMED)
    seen = b.observed(starting, *pods, service=b.service(), waiting=(reason, b.NOW - timedelta(seconds=10)))
    status = b.wanted(plan(seen, b.NOW).status)
    assert status["reason"] == reason
    assert told in status["message"]


def _waiting(
    *first: dict[str, Any], reason: str, template: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """The status of a starting job whose first pod waits like that."""
    changes: dict[str, Any] = {"template": template} if template else {}
    starting = b.job(b.attempt_status(created=False, phase="Starting", reason="AwaitingPods"), **changes)
    pods = (b.pod(0, phase="Pending", containerStatuses=list(first), **more), b.pod(1, phase="Pending"))
    told = (reason, b.NOW - timedelta(seconds=10))
    return b.wanted(plan(b.observed(starting, *pods, service=b.service(), waiting=told), b.NOW).status)


@pytest.mark.parametrize("why", ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"])
def test_a_container_that_cannot_be_made_is_named_with_the_kubelets_words(why: str) -> None:
    stuck = b.container("trainer", waiting={"reason": why, "message": 'secret "keys" not found'})
    status = _waiting(stuck, reason="ContainerConfigInvalid")
    assert status["reason"] == "ContainerConfigInvalid"
    assert 'trainer of worker 0-0 cannot be created: secret "keys" not found. Create what' in status["message"]


def test_a_claim_of_a_volume_that_the_pod_makes_is_named_after_the_pod() -> None:
    template = {
        "spec": {
            "containers": [{"name": "trainer", "image": "t"}],
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}],
        }
    }
    said = "pod has unbound immediate PersistentVolumeClaims"
    condition = {"type": "PodScheduled", "status": "False", "message": said}
    status = _waiting(reason="ClaimPending", template=template, conditions=[condition])
    assert "PersistentVolumeClaim digits-0-0-1-scratch, which has no volume yet" in status["message"]


def test_whatever_others_say_the_message_ends_with_what_to_do() -> None:
    endless = "back-off pulling image " * 500
    stuck = b.container("trainer", waiting={"reason": "ImagePullBackOff", "message": endless})
    message = _waiting(stuck, reason="ImagePullFailed")["message"]
    assert len(message) <= 1000
    assert message.endswith("in a new TrainingJob.")
