"""TrainingJobs of the tests: the digits on JAX, and the plain trainer with its knobs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

Fields = dict[str, Any]

# The config map that holds the trainers of the tests, in every namespace that a test gets.
SCRIPTS = "trainer-scripts"
BUCKET = "holdfast"
USER = 65532

_RESOURCES: Fields = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def scripts() -> Fields:
    """The content of the config map."""
    return {
        name: Path(__file__).with_name(name).read_text() for name in ("plain_trainer.py", "orbax_defaults_trainer.py")
    }


def plain(name: str, image: str, namespace: str, workers: int = 1, **knobs: object) -> Fields:
    """A job of the plain trainer; ``knobs`` are the trainer's variables (see plain_trainer.py)."""
    trainer = {
        "name": "trainer",
        "image": image,
        "command": ["python3", "-u", "/scripts/plain_trainer.py"],
        "env": _environment(knobs),
        "resources": copy.deepcopy(_RESOURCES),
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts", "readOnly": True}],
    }
    volumes = [{"name": "scripts", "configMap": {"name": SCRIPTS}}]
    return _job(name, namespace, "Plain", workers, trainer, volumes, {"cadence": {"everySteps": 10}})


def digits(name: str, image: str, namespace: str, workers: int = 2, **knobs: object) -> Fields:
    """A job of the digits example on JAX, over as many nodes as there are."""
    trainer = {
        "name": "trainer",
        "image": image,
        "env": _environment(knobs),
        "resources": {"requests": {"cpu": "10m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[Fields] = [{"name": "tmp", "emptyDir": {}}]
    return _job(name, namespace, "JAX", workers, trainer, volumes, {"cadence": {"everySteps": 50}})


def orbax_defaults(name: str, image: str, namespace: str) -> Fields:
    """Two workers whose trainer hangs at its first save (see orbax_defaults_trainer.py)."""
    manifest = digits(name, image, namespace)
    trainer = trainer_of(manifest)
    trainer["command"] = ["python3", "-u", "/scripts/orbax_defaults_trainer.py"]
    trainer["volumeMounts"].append({"name": "scripts", "mountPath": "/scripts", "readOnly": True})
    manifest["spec"]["template"]["spec"]["volumes"].append({"name": "scripts", "configMap": {"name": SCRIPTS}})
    return manifest


def merged(base: Fields, change: Fields) -> Fields:
    """``base`` with ``change`` merged in as a JSON merge patch: None removes, lists are replaced."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def trainer_of(manifest: Fields) -> Fields:
    """The trainer's container, to be changed in place."""
    containers: list[Fields] = manifest["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == "trainer")


def _environment(knobs: dict[str, object]) -> list[Fields]:
    return [{"name": name, "value": str(value)} for name, value in knobs.items()]


def _job(
    name: str, namespace: str, framework: str, workers: int, trainer: Fields, volumes: list[Fields], checkpoint: Fields
) -> Fields:
    trainer["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        # A node may be away: then both workers share the other one.
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"holdfast.dev/job-name": name}},
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
        "containers": [trainer],
        "volumes": volumes,
    }
    return {
        "apiVersion": "holdfast.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "accelerator": {"cpu": {"workers": workers}},
            "runtime": {"framework": framework},
            "template": {"spec": pod},
            "checkpoint": {"destination": f"gs://{BUCKET}/{namespace}/{name}", "flushTimeout": "2m", **checkpoint},
        },
    }
