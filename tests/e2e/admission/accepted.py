"""Objects and updates that the API server must take."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.e2e.admission.manifests import TPU, TRAINER, Fields, pod, trainer, variable


class Accepted(NamedTuple):
    """A change of the good job's spec that is taken."""

    name: str
    change: Fields


def _tpu(generation: str, topology: str, chips_per_host: int | None = None) -> Fields:
    wanted: Fields = {"generation": generation, "topology": topology}
    if chips_per_host is not None:
        wanted["chipsPerHost"] = chips_per_host
    return {"accelerator": {"cpu": None, "tpu": wanted}}


def _gpu(kind: str, **fields: int) -> Fields:
    return {"accelerator": {"cpu": None, "gpu": {"type": kind, **fields}}}


def _slices(generation: str, topology: str, slices: int) -> Fields:
    return {"accelerator": {"cpu": None, "tpu": {"generation": generation, "topology": topology, "slices": slices}}}


SPECS: Final = (
    Accepted("good job", {}),
    Accepted("all defaults", {"accelerator": {"cpu": {"workers": None}}, "checkpoint": None, "suspend": None}),
    Accepted("no checkpoint, own grace period", {"checkpoint": None, **pod(terminationGracePeriodSeconds=5)}),
    Accepted("axion", {"accelerator": {"cpu": {"arch": "Arm64", "machineFamily": "c4a"}}}),
    Accepted("v6e one chip", _tpu("v6e", "1x1", 1)),
    Accepted("v6e two hosts", _tpu("v6e", "2x4", 4)),
    Accepted("v6e one large host", _tpu("v6e", "2x4", 8)),
    Accepted("v6e largest", _tpu("v6e", "16x16", 4)),
    Accepted("v5p smallest", _tpu("v5p", "2x2x1")),
    Accepted("v5p cubes", _tpu("v5p", "4x8x12", 4)),
    Accepted("v5p largest", _tpu("v5p", "16x20x28")),
    Accepted("v6e slices", _slices("v6e", "2x4", 64)),
    Accepted("v6e one slice, said so", _slices("v6e", "2x2", 1)),
    Accepted("v5p slices", _slices("v5p", "16x20x28", 4)),
    Accepted("h100", _gpu("nvidia-h100-80gb", workers=1024)),
    Accepted("h100 half a machine", _gpu("nvidia-h100-80gb", perWorker=4)),
    Accepted("h100 mega", _gpu("nvidia-h100-mega-80gb", perWorker=8, workers=2)),
    Accepted("a100", _gpu("nvidia-tesla-a100", perWorker=16)),
    Accepted("a100 with 80 GB", _gpu("nvidia-a100-80gb", perWorker=1)),
    Accepted("spot gpus", {**_gpu("nvidia-h100-80gb"), "capacity": {"mode": "Spot"}}),
    Accepted("variable of slices on one slice", {"accelerator": TPU, **variable("MEGASCALE_NUM_SLICES")}),
    Accepted("spot", {"capacity": {"mode": "Spot"}}),
    Accepted("jax with its options", {"runtime": {"framework": "JAX"}, **variable("JAX_ENABLE_PREEMPTION_SERVICE")}),
    Accepted("rendezvous of its own", variable("JAX_COORDINATOR_ADDRESS")),
    Accepted("variable of TPUs on processors", variable("TPU_WORKER_ID")),
    Accepted("tpu with other resources", {"accelerator": TPU, **trainer(resources={"limits": {"memory": "64Gi"}})}),
    Accepted("restart policy never", pod(restartPolicy="Never")),
    Accepted("sidecar of its own", pod(initContainers=[{"name": "proxy", "restartPolicy": "Always"}])),
    Accepted("host network", pod(hostNetwork=True)),
    Accepted("non-root with its user", pod(securityContext={"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000})),
    Accepted(
        "non-root pod, the trainer names its user",
        {
            "template": {
                "spec": {
                    "securityContext": {"runAsNonRoot": True},
                    "containers": [{**TRAINER, "securityContext": {"runAsUser": 1000}}],
                }
            }
        },
    ),
    Accepted(
        "non-root pod, the trainer is excepted",
        {
            "template": {
                "spec": {
                    "securityContext": {"runAsNonRoot": True},
                    "containers": [{**TRAINER, "securityContext": {"runAsNonRoot": False}}],
                }
            }
        },
    ),
    Accepted("mount beside the directory", trainer(volumeMounts=[{"name": "data", "mountPath": "/checkpoints-old"}])),
    Accepted(
        "another container",
        pod(containers=[TRAINER, {"name": "viewer", "volumeMounts": [{"name": "x", "mountPath": "/checkpoints"}]}]),
    ),
    Accepted("restore a step", {"checkpoint": {"restore": {"policy": "Step", "step": 0}}}),
    Accepted("restore nothing", {"checkpoint": {"restore": {"policy": "None"}}}),
    Accepted(
        "long durations", {"recovery": {"restartWindow": "8760h", "backoff": {"initial": "0s", "max": "1h30m5s"}}}
    ),
    Accepted("deadline", {"activeDeadline": "72h", "ttlAfterFinished": "24h"}),
    Accepted("no second longer", {"activeDeadline": "1s", "ttlAfterFinished": "0s"}),
    Accepted("stall", {"recovery": {"stallTimeout": "30m"}}),
    Accepted("final exit codes", {"recovery": {"finalExitCodes": [1, 2, 255]}}),
)

_LIMITED: Final = trainer(resources={"limits": {"memory": "9Gi"}})
_SIZE: Final = {"requests": {"storage": "20Gi"}}

VOLUMES: Final = (
    Accepted("disk without a limit", {"checkpoint": {"volume": {"disk": {}}}}),
    Accepted("disk", {"checkpoint": {"volume": {"disk": {"sizeLimit": "20Gi"}}}}),
    Accepted("memory", {"checkpoint": {"volume": {"memory": {"sizeLimit": "8Gi"}}}, **_LIMITED}),
    # The sizes are compared by the operator, which tells it in Accepted.
    Accepted("memory beyond its trainer", {"checkpoint": {"volume": {"memory": {"sizeLimit": "10Gi"}}}, **_LIMITED}),
    Accepted("claims of the default class", {"checkpoint": {"volume": {"claimTemplate": {"resources": _SIZE}}}}),
    Accepted(
        "claims as in a StatefulSet",
        {
            "checkpoint": {
                "volume": {
                    "claimTemplate": {
                        "storageClassName": "premium-rwo.v2",
                        "accessModes": ["ReadWriteOncePod"],
                        "resources": _SIZE,
                    }
                }
            }
        },
    ),
    Accepted("shared claim", {"checkpoint": {"volume": {"sharedClaim": {"claimName": "models.7"}}}}),
)

LONGEST_NAME: Final = "a" + "b-" * 19 + "c"

UPDATES: Final = (
    Accepted("resume", {"suspend": False}),
    Accepted("restore", {"checkpoint": {"restore": {"policy": "Step", "step": 300}}}),
    Accepted("cadence", {"checkpoint": {"cadence": {"everySteps": 10}}}),
    Accepted("retention", {"checkpoint": {"retention": {"keepLast": 5}}}),
    Accepted("flush timeout", {"checkpoint": {"flushTimeout": "1m"}}),
    Accepted("deadline", {"activeDeadline": "1h"}),
    Accepted("time to live", {"ttlAfterFinished": "1h"}),
    Accepted("stall", {"recovery": {"stallTimeout": "1h"}}),
    Accepted("recovery", {"recovery": {"maxRestarts": 0, "finalExitCodes": [3], "nodeLostTimeout": "5m"}}),
)
