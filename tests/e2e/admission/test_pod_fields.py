"""The CRD names every field of a pod template: CEL compares named fields alone, and immutability stands on that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client import CustomObjectsApi

from holdfast.api.crd import training_job

_KUBERNETES = "io.k8s.api.core.v1"


def _ours(*path: str) -> set[str]:
    version = training_job()["spec"]["versions"][0]
    node = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    for step in path:
        node = node["properties"][step]
        node = node.get("items", node)
    return set(node["properties"])


@pytest.fixture(scope="module")
def kubernetes_schemas(custom_objects: CustomObjectsApi) -> dict[str, Any]:
    """What this API server says about the core types."""
    client = custom_objects.api_client
    request = client.param_serialize(
        "GET", "/openapi/v3/api/v1", header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
    )
    answer = client.call_api(*request)
    found: dict[str, Any] = json.loads(answer.read())["components"]["schemas"]
    return found


@pytest.mark.parametrize(
    ("theirs", "path", "left_out"),
    [
        # Ephemeral containers are added to running pods and are no part of a template.
        ("PodSpec", (), {"ephemeralContainers"}),
        ("PodSecurityContext", ("securityContext",), set()),
        ("Volume", ("volumes",), set()),
        ("Container", ("containers",), set()),
        ("Container", ("initContainers",), set()),
        ("EnvVar", ("containers", "env"), set()),
        ("ContainerPort", ("containers", "ports"), set()),
        ("VolumeMount", ("containers", "volumeMounts"), set()),
        ("ResourceRequirements", ("containers", "resources"), set()),
        ("SecurityContext", ("containers", "securityContext"), set()),
    ],
)
def test_every_field_is_named(
    theirs: str, path: tuple[str, ...], left_out: set[str], kubernetes_schemas: dict[str, Any]
) -> None:
    fields = set(kubernetes_schemas[f"{_KUBERNETES}.{theirs}"]["properties"])
    assert fields - left_out <= _ours(*path)
