"""Bad objects are refused at apply, with a message that says what to change."""

from __future__ import annotations

import json

import pytest
from kubernetes.client import ApiException, CustomObjectsApi

from tests.e2e.admission.manifests import GROUP, PLURAL, VERSION, Fields, job
from tests.e2e.admission.refused import NAMES, SPECS, UPDATES, Refused


def _refusal(custom_objects: CustomObjectsApi, namespace: str, manifest: Fields) -> str:
    with pytest.raises(ApiException) as caught:
        custom_objects.create_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, manifest, dry_run="All", field_validation="Strict"
        )
    assert caught.value.status in (400, 422)
    return _message(caught.value)


def _message(error: ApiException) -> str:
    return str(json.loads(str(error.body))["message"])


@pytest.mark.parametrize("case", SPECS, ids=lambda case: case.name)
def test_spec_is_refused(case: Refused, custom_objects: CustomObjectsApi, namespace: str) -> None:
    told = _refusal(custom_objects, namespace, job(case.change))
    assert case.message in told


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_name_is_refused(name: str, message: str, custom_objects: CustomObjectsApi, namespace: str) -> None:
    assert message in _refusal(custom_objects, namespace, job(name=name))


def test_name_is_refused_where_the_hosts_of_a_slice_would_not_fit_a_variable(
    custom_objects: CustomObjectsApi, namespace: str
) -> None:
    largest = {"accelerator": {"cpu": None, "tpu": {"generation": "v5p", "topology": "16x20x28"}}}
    told = _refusal(custom_objects, namespace, job(largest, name="a" * 40))
    assert "must fit one variable of 128 KiB: use a shorter name or a smaller topology" in told


def test_updates_are_refused(custom_objects: CustomObjectsApi, namespace: str, settled: str) -> None:
    unexpected = {}
    for case in UPDATES:
        try:
            custom_objects.patch_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, settled, {"spec": case.change}, dry_run="All"
            )
        except ApiException as refused:
            told = _message(refused)
            if refused.status != 422 or case.message not in told:
                unexpected[case.name] = told
        else:
            unexpected[case.name] = "accepted"
    assert unexpected == {}
