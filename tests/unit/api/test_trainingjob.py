"""The models: what they read, what they refuse, and what they give back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.api.checkpoint import RestorePolicy
from holdfast.api.template import PodTemplate
from holdfast.api.trainingjob import TrainingJob, TrainingJobSpec
from tests.e2e.admission import accepted
from tests.e2e.admission.manifests import job

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize("case", accepted.SPECS, ids=lambda case: case.name)
def test_what_the_api_server_takes_is_read(case: accepted.Accepted) -> None:
    read = TrainingJob.model_validate(job(case.change))
    assert read.status is None
    assert TrainingJobSpec.model_validate(read.spec.model_dump(by_alias=True, exclude_none=True)) == read.spec


def test_defaults() -> None:
    spec = TrainingJobSpec.model_validate(job()["spec"])
    assert spec.checkpoint is not None
    assert spec.model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "accelerator": {"cpu": {"workers": 2, "arch": "Any"}},
        "capacity": {"mode": "OnDemand"},
        "runtime": {"framework": "Plain"},
        "template": job()["spec"]["template"],
        "checkpoint": {
            "directory": "/checkpoints",
            "volume": {"disk": {}},
            "destination": "gs://holdfast-admission/jobs/digits",
            "cadence": {"everySteps": 100},
            "format": "Auto",
            "retention": {"keepLast": 3},
            "restore": {"policy": "Latest"},
            "flushTimeout": "10m",
        },
        "recovery": {
            "maxRestarts": 10,
            "restartWindow": "24h",
            "backoff": {"initial": "1s", "max": "5m"},
            "finalExitCodes": [],
            "nodeLostTimeout": "60s",
        },
        "suspend": True,
    }
    assert spec.checkpoint.restore.policy is RestorePolicy.LATEST


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"accelerator": {"cpu": {"workers": 0}}}, "accelerator.cpu.workers"),
        ({"accelerator": {"tpu": {"generation": "v9", "topology": "1x1"}}}, "accelerator.tpu.generation"),
        ({"template": {"spec": {"containers": []}}}, "template.spec.containers"),
        ({"checkpoint": {"destination": "s3://b/p"}}, "checkpoint.destination"),
        ({"checkpoint": {"directory": "x"}}, "checkpoint.directory"),
        ({"checkpoint": {"flushTimeout": "600"}}, "checkpoint.flushTimeout"),
        ({"checkpoint": {"volume": {"disk": {"sizeLimit": "0"}}}}, "checkpoint.volume.disk.sizeLimit"),
        ({"recovery": {"finalExitCodes": [0]}}, "recovery.finalExitCodes.0"),
    ],
)
def test_what_the_schema_refuses_is_not_read_either(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingJobSpec.model_validate(job(change)["spec"])
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [place]


def test_fields_of_a_newer_version_are_ignored() -> None:
    spec = TrainingJobSpec.model_validate(job({"later": 1, "recovery": {"scope": "Slice"}})["spec"])
    assert "scope" not in spec.recovery.model_dump()


@given(st.dictionaries(st.sampled_from(["affinity", "tolerations", "later"]), _json, max_size=3), _json)
def test_a_template_comes_back_as_it_was_applied(undeclared: dict[str, Any], probe: Any) -> None:
    applied = {
        "metadata": {"labels": {"team": "vision"}},
        "spec": {
            "containers": [
                {"name": "trainer", "env": [{"name": "A", "valueFrom": probe}], "livenessProbe": probe},
                {"name": "other", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}},
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
            **undeclared,
        },
    }
    assert PodTemplate.model_validate(applied).dump() == applied


def test_models_are_immutable() -> None:
    spec = TrainingJobSpec.model_validate(job()["spec"])
    with pytest.raises(ValidationError, match="frozen"):
        spec.suspend = False  # type: ignore[misc]  # mypy knows that it is frozen
