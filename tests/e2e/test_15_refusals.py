"""What only the cluster can know: each refusal has its reason and names what to change, and ends once it is mended."""

from __future__ import annotations

from typing import Any

from kubernetes.client import SchedulingV1Api, V1ObjectMeta, V1PriorityClass

from deploy.demo.lab import REPLY_S, Lab
from tests.e2e.harness import manifests
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Run, Runs
from tests.e2e.harness.waiting import until

_STEPS = 20
# A dry run is repeated every 30 s, a refused create every 10 s; a wait is told after 10 s.
_TOLD_S = 45
_MENDED_S = 120

Fields = dict[str, Any]


def _manifest(runs: Runs, name: str, workers: int = 1) -> Fields:
    knobs = {"STEPS": _STEPS, "STEP_SECONDS": 0.05}
    return manifests.plain(name, runs.lab.images.holdfast, runs.namespace, workers, **knobs)


def _refused(run: Run, reason: str, phase: str, *told: str) -> None:
    """Wait until the job says that it cannot begin, why, and what to do; nothing of it exists."""
    status = run.reason(reason, within_s=_TOLD_S)
    accepted = run.job.condition("Accepted")
    assert (accepted["status"], accepted["reason"], status["phase"]) == ("False", reason, phase), run.explain()
    for words in told:
        assert words in accepted["message"], accepted["message"]
    assert run.job.pods() == []


def _goes_on(run: Run, workers: int = 1) -> None:
    """The job begins by itself and ends well, with no restart."""
    until(
        f"{run.job.name} is accepted",
        lambda: run.job.condition("Accepted").get("status") == "True",
        within_s=_MENDED_S,
        explain=run.explain,
    )
    status = run.succeeded(within_s=_MENDED_S)
    assert (status["attempt"], status.get("restarts", 0)) == (1, 0)
    assert [line["state"] for line in run.job.finals()] == [state_after(_STEPS)] * workers


def _hard(lab: Lab, namespace: str, pods: int) -> None:
    """Set the quota of pods, and wait until the quota controller has seen it."""
    body = {"metadata": {"name": "few-pods"}, "spec": {"hard": {"pods": str(pods)}}}
    if not pods:
        lab.core.create_namespaced_resource_quota(namespace, body, _request_timeout=REPLY_S)
    else:
        lab.core.patch_namespaced_resource_quota("few-pods", namespace, body, _request_timeout=REPLY_S)

    def seen() -> bool:
        quota = lab.core.read_namespaced_resource_quota("few-pods", namespace, _request_timeout=REPLY_S)
        return (quota.status.hard or {}).get("pods") == str(pods)

    until("the quota is in force", seen, within_s=30)


def test_quota_that_has_no_room_for_any_worker_then_for_one_then_for_all(runs: Runs, lab: Lab) -> None:
    """With a name of the greatest length, on a framework whose pods and Service are named after it."""
    _hard(lab, runs.namespace, 0)
    manifest = _manifest(runs, "q" * 39 + "9", workers=2)
    run = runs.start(manifest, {"runtime": {"framework": "JAX"}})
    _refused(run, "QuotaExceeded", "Pending", "exceeded quota: few-pods", "Raise the quota")

    _hard(lab, runs.namespace, 1)

    def half() -> bool:
        condition = run.job.condition("Running")
        return condition.get("reason") == "QuotaExceeded" and "few-pods" in condition["message"]

    until("the second worker is refused", half, within_s=_MENDED_S, explain=run.explain)
    assert len(run.job.pods()) == 1
    assert run.job.status()["attempt"] == 1

    _hard(lab, runs.namespace, 2)
    _goes_on(run, workers=2)
    assert runs.history.problems(runs.namespace) == []


def test_pod_security_level_that_the_template_violates(runs: Runs, lab: Lab) -> None:
    manifest = _manifest(runs, "insecure")
    del manifests.trainer_of(manifest)["securityContext"]["allowPrivilegeEscalation"]
    run = runs.start(manifest)
    _refused(run, "PodSecurityRefused", "Pending", "restricted", "allowPrivilegeEscalation", "securityContext")
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    lab.core.patch_namespace(runs.namespace, label, _request_timeout=REPLY_S)
    _goes_on(run)


def test_service_account_that_does_not_exist(runs: Runs, lab: Lab) -> None:
    run = runs.start(_manifest(runs, "nobody"), {"template": {"spec": {"serviceAccountName": "trainers"}}})
    _refused(run, "ServiceAccountMissing", "Pending", '"trainers" not found', "Create the service account")
    account = {"metadata": {"name": "trainers"}}
    lab.core.create_namespaced_service_account(runs.namespace, account, _request_timeout=REPLY_S)
    _goes_on(run)


def test_limit_range_below_what_the_template_asks_for(runs: Runs, lab: Lab) -> None:
    limits = {"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]}}
    lab.core.create_namespaced_limit_range(runs.namespace, limits, _request_timeout=REPLY_S)
    run = runs.start(_manifest(runs, "large"))
    _refused(
        run, "LimitRangeExceeded", "Pending", "maximum memory usage per Container is 128Mi", "Change the LimitRange"
    )
    lab.core.delete_namespaced_limit_range("small", runs.namespace, _request_timeout=REPLY_S)
    _goes_on(run)


def test_template_with_a_field_that_does_not_exist(runs: Runs) -> None:
    manifest = _manifest(runs, "typo")
    manifests.trainer_of(manifest)["imagePullPolice"] = "Always"
    run = runs.start(manifest)
    _refused(
        run, "TemplateRefused", "Refused", 'unknown field "spec.containers[0].imagePullPolice"', "Correct spec.temp"
    )


def test_template_with_a_value_that_cannot_be(runs: Runs) -> None:
    manifest = _manifest(runs, "mount")
    manifests.trainer_of(manifest)["volumeMounts"].append({"name": "nowhere", "mountPath": "/data"})
    run = runs.start(manifest)
    _refused(run, "TemplateRefused", "Refused", 'volumeMounts[1].name: Not found: "nowhere"', "Correct spec.template")


def test_template_that_names_a_priority_class_of_tomorrow(runs: Runs, lab: Lab) -> None:
    scheduling = SchedulingV1Api(lab.core.api_client)
    name = f"high-{runs.namespace}"
    run = runs.start(_manifest(runs, "urgent"), {"template": {"spec": {"priorityClassName": name}}})
    _refused(run, "TemplateRefused", "Refused", name)
    made = V1PriorityClass(metadata=V1ObjectMeta(name=name), value=1000)
    scheduling.create_priority_class(made, _request_timeout=REPLY_S)
    try:
        _goes_on(run)
    finally:
        scheduling.delete_priority_class(name, _request_timeout=REPLY_S)


def _claim(lab: Lab, namespace: str, storage_class: str) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}},
        "storageClassName": storage_class,
    }
    body = {"metadata": {"name": "corpus"}, "spec": spec}
    lab.core.create_namespaced_persistent_volume_claim(namespace, body, _request_timeout=REPLY_S)


def test_claim_of_the_template_that_is_missing_and_then_has_no_class(runs: Runs, lab: Lab) -> None:
    manifest = _manifest(runs, "reader")
    manifests.trainer_of(manifest)["volumeMounts"].append({"name": "data", "mountPath": "/data"})
    manifest["spec"]["template"]["spec"]["volumes"].append(
        {"name": "data", "persistentVolumeClaim": {"claimName": "corpus"}}
    )
    run = runs.start(manifest)
    status = run.reason("ClaimNotFound", within_s=_TOLD_S)
    assert "PersistentVolumeClaim corpus, which does not exist: create it" in status["message"]
    assert run.job.condition("Running")["reason"] == "ClaimNotFound"

    _claim(lab, runs.namespace, "class-of-nobody")
    status = run.reason("ClaimPending", within_s=_MENDED_S)
    assert "PersistentVolumeClaim corpus, which has no volume yet" in status["message"]

    lab.core.delete_namespaced_persistent_volume_claim("corpus", runs.namespace, _request_timeout=REPLY_S)

    def gone() -> bool:
        claims = lab.core.list_namespaced_persistent_volume_claim(runs.namespace, _request_timeout=REPLY_S)
        return not claims.items

    until("the claim is gone", gone, within_s=30, explain=run.explain)
    _claim(lab, runs.namespace, "standard")
    _goes_on(run)


def test_one_reason_is_one_event(runs: Runs, lab: Lab) -> None:
    """A job that fails eight times tells of it in one event that counts."""
    change = {"recovery": {"maxRestarts": 7, "backoff": {"initial": "0s"}}}
    manifest = manifests.plain("crashes", lab.images.holdfast, runs.namespace)
    manifests.trainer_of(manifest)["command"] = ["python3", "-c", "raise SystemExit(3)"]
    run = runs.start(manifest, change)
    status = run.phase("Failed", within_s=300)
    assert status["reason"] == "MaxRestartsExceeded"
    listing = lab.core.list_namespaced_event(
        runs.namespace, field_selector="involvedObject.name=crashes", _request_timeout=REPLY_S
    )
    told = [event for event in listing.items if event.reason == "WorkerFailed"]
    # A replica that takes the lead begins an event of its own.
    assert len(told) == 1, [event.message for event in told]
    assert told[0].series.count >= 4
