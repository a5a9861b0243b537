"""One namespace for all cases here: nearly all of them are dry runs, and nothing ever runs in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from kubernetes.client import CoreV1Api, CustomObjectsApi, V1Namespace, V1ObjectMeta

from tests.e2e.admission.manifests import GROUP, PLURAL, VERSION, Fields, job

_REPLY_S = 30


@pytest.fixture(scope="session")
def namespace(custom_objects: CustomObjectsApi) -> Iterator[str]:
    """The namespace that the cases share."""
    core = CoreV1Api(custom_objects.api_client)
    name = f"admission-{secrets.token_hex(4)}"
    core.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name)), _request_timeout=_REPLY_S)
    yield name
    core.delete_namespace(name, _request_timeout=_REPLY_S)


@pytest.fixture
def settled(custom_objects: CustomObjectsApi, namespace: str) -> str:
    """The name of a suspended job that exists, with some fields of the template that the models do not declare."""
    pod: Fields = {"priorityClassName": "high", "volumes": [{"name": "scratch", "emptyDir": {}}]}
    name = f"settled-{secrets.token_hex(3)}"
    manifest = job({"template": {"spec": pod}}, name=name)
    custom_objects.create_namespaced_custom_object(
        GROUP, VERSION, namespace, PLURAL, manifest, _request_timeout=_REPLY_S
    )
    return name
