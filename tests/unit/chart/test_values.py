"""Values that cannot work are refused before anything is installed."""

from __future__ import annotations

import pytest

from tests.unit.chart.rendering import refusal, render


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replicas": "two"}, "replicas"),
        ({"replicaCount": 3}, "replicaCount"),
        ({"logLevel": "VERBOSE"}, "logLevel"),
        ({"workers": 0}, "workers"),
        ({"image": {"repository": ""}}, "image"),
        ({"image": {"repository": "holdfast", "tag": "a b"}}, "image"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"sidecar": {"env": {"STORAGE_EMULATOR_HOST": 1}}}, "STORAGE_EMULATOR_HOST"),
        ({"sidecar": {"env": {"1X": "a"}}}, "1X"),
        ({"resources": {"limits": {"memory": ["1Gi"]}}}, "memory"),
        ({"crds": {"install": "no"}}, "install"),
        ({"podLabels": {"team": 7}}, "team"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, object], where: str) -> None:
    assert where in refusal(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 3, "logLevel": "DEBUG", "workers": 32},
        {"image": {"repository": "registry.example:5000/team/holdfast", "tag": "0123456789ab"}},
        {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {}}},
        {"serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "a@b.example"}}},
        {"tolerations": [{"key": "dedicated", "operator": "Exists"}], "nodeSelector": {"pool": "system"}},
        {"imagePullSecrets": [{"name": "registry"}], "priorityClassName": "system-cluster-critical"},
        {"podAnnotations": {"a": "b"}, "podLabels": {"team": "x"}, "global": {"anything": 1}},
    ],
)
def test_sensible_values_are_accepted(values: dict[str, object]) -> None:
    assert render(**values)
