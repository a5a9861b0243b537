"""TrainingJobs to try on the API server: a good one, and ways to change it."""

from __future__ import annotations

import copy
from typing import Any

GROUP, VERSION, PLURAL = "holdfast.dev", "v1alpha1", "trainingjobs"

Fields = dict[str, Any]

TRAINER: Fields = {"name": "trainer", "image": "registry.example/trainer:1", "command": ["python", "train.py"]}
DESTINATION = "gs://holdfast-admission/jobs/digits"
TPU: Fields = {"cpu": None, "tpu": {"generation": "v6e", "topology": "4x4"}}

_BASE: Fields = {
    "accelerator": {"cpu": {"workers": 2}},
    "template": {"spec": {"containers": [TRAINER]}},
    "checkpoint": {"destination": DESTINATION},
    # Nothing runs, whether or not an operator watches the cluster.
    "suspend": True,
}


def merged(base: Fields, change: Fields) -> Fields:
    """Return `base` with `change` merged in as a JSON merge patch: None removes, lists are replaced."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def job(change: Fields | None = None, name: str = "admission") -> Fields:
    """Return the good job with `change` merged into its spec."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": merged(_BASE, change or {}),
    }


def trainer(**fields: Any) -> Fields:
    """Return a change of the spec that gives the trainer's container further fields."""
    return pod(containers=[{**TRAINER, **fields}])


def pod(**fields: Any) -> Fields:
    """Return a change of the spec that gives the pod template further fields."""
    return {"template": {"spec": fields}}


def variable(name: str) -> Fields:
    """Return a change of the spec that sets one variable of the trainer's environment."""
    return trainer(env=[{"name": name, "value": "1"}])
