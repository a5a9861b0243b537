"""Good objects are taken, get their defaults, and show what the printer columns promise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client import ApiException, CustomObjectsApi

from holdfast.api.trainingjob import TrainingJobSpec
from tests.e2e.admission.accepted import LONGEST_NAME, SPECS, UPDATES, VOLUMES, Accepted
from tests.e2e.admission.manifests import GROUP, PLURAL, VERSION, Fields, job, pod


def _dry_run(custom_objects: CustomObjectsApi, namespace: str, manifest: Fields) -> Any:
    return custom_objects.create_namespaced_custom_object(
        GROUP, VERSION, namespace, PLURAL, manifest, dry_run="All", field_validation="Strict"
    )


@pytest.mark.parametrize("case", SPECS + VOLUMES, ids=lambda case: case.name)
def test_spec_is_accepted_and_defaulted_as_the_models_say(
    case: Accepted, custom_objects: CustomObjectsApi, namespace: str
) -> None:
    manifest = job(case.change)
    stored = _dry_run(custom_objects, namespace, manifest)["spec"]
    ours = TrainingJobSpec.model_validate(manifest["spec"])
    assert TrainingJobSpec.model_validate(stored) == ours
    # Every default is in the stored object, so that `kubectl get -o yaml` shows what is in force.
    assert ours.model_dump(by_alias=True, exclude_none=True, mode="json") == stored


def test_longest_name_is_accepted(custom_objects: CustomObjectsApi, namespace: str) -> None:
    assert len(LONGEST_NAME) == 40
    stored = _dry_run(custom_objects, namespace, job(name=LONGEST_NAME))
    assert stored["metadata"]["name"] == LONGEST_NAME


def test_undeclared_fields_of_the_template_are_kept(custom_objects: CustomObjectsApi, namespace: str) -> None:
    affinity: Fields = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
    stored = _dry_run(custom_objects, namespace, job(pod(affinity=affinity, priorityClassName="high")))
    assert stored["spec"]["template"]["spec"]["affinity"] == affinity
    assert stored["spec"]["template"]["spec"]["priorityClassName"] == "high"


def test_updates_are_accepted(custom_objects: CustomObjectsApi, namespace: str, settled: str) -> None:
    refused = {}
    for case in UPDATES:
        try:
            custom_objects.patch_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, settled, {"spec": case.change}, dry_run="All"
            )
        except ApiException as error:
            refused[case.name] = str(error.body)
    assert refused == {}


def _applied(custom_objects: CustomObjectsApi, namespace: str, manifest: Fields, manager: str) -> Any:
    client = custom_objects.api_client
    request = client.param_serialize(
        "PATCH",
        f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{manifest['metadata']['name']}",
        query_params=[("fieldManager", manager)],
        header_params={"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"},
        body=json.dumps(manifest),
        auth_settings=["BearerToken"],
    )
    answer = client.call_api(*request)
    return answer.status, json.loads(answer.read())


def test_two_managers_may_apply_the_same(custom_objects: CustomObjectsApi, namespace: str) -> None:
    # All that has defaults is left to them.
    volume = {"claimTemplate": {"resources": {"requests": {"storage": "20Gi"}}}}
    change: Fields = {"accelerator": {"cpu": {"workers": None}}, "checkpoint": {"volume": volume}, "runtime": {}}
    manifest = job(change, name="shared")
    status, first = _applied(custom_objects, namespace, manifest, "first")
    assert status == 201
    status, second = _applied(custom_objects, namespace, manifest, "second")
    assert (status, second["spec"]) == (200, first["spec"])
    # The operator may have put its finalizer on the job meanwhile.
    owned = {one["manager"]: one["fieldsV1"].get("f:spec") for one in second["metadata"]["managedFields"]}
    assert owned["first"] == owned["second"]
    assert owned["second"]["f:template"] == {}
