"""Objects that the API server must refuse, each with the part of the message that says what to change."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tests.e2e.admission.manifests import DESTINATION, TPU, TRAINER, Fields, merged, pod, trainer, variable


class Refused(NamedTuple):
    """A change of the good job's spec that is refused with these words."""

    name: str
    change: Fields
    message: str


def _tpu(**fields: Any) -> Fields:
    return {"accelerator": {"cpu": None, "tpu": {"generation": "v6e", "topology": "4x4", **fields}}}


def _gpu(kind: str, **fields: Any) -> Fields:
    return {"accelerator": {"cpu": None, "gpu": {"type": kind, **fields}}}


def _checkpoint(**fields: Any) -> Fields:
    return {"checkpoint": fields}


_ACCELERATOR = (
    Refused("no accelerator", {"accelerator": None}, "spec.accelerator: Required value"),
    Refused("no kind", {"accelerator": {"cpu": None}}, "set exactly one of cpu, gpu and tpu"),
    Refused("two kinds", {"accelerator": {"tpu": TPU["tpu"]}}, "set exactly one of cpu, gpu and tpu"),
    Refused("no workers", {"accelerator": {"cpu": {"workers": 0}}}, "greater than or equal to 1"),
    Refused("too many workers", {"accelerator": {"cpu": {"workers": 1025}}}, "less than or equal to 1024"),
    Refused(
        "unknown processor", {"accelerator": {"cpu": {"arch": "arm"}}}, 'supported values: "Amd64", "Arm64", "Any"'
    ),
    Refused("arm family", {"accelerator": {"cpu": {"machineFamily": "c4a"}}}, "are Arm machines: set arch to Arm64"),
    Refused("unknown generation", _tpu(generation="v9"), 'supported values: "v5p", "v6e"'),
    Refused("no topology", _tpu(topology=None), "spec.accelerator.tpu.topology: Required value"),
    Refused("unknown v6e topology", _tpu(topology="3x3"), "a v6e topology is one of 1x1, 2x2, 2x4"),
    Refused("v5p topology of v6e", _tpu(topology="4x4x4"), "a v6e topology is one of"),
    Refused("v6e topology of v5p", _tpu(generation="v5p"), "a v5p topology is one of 2x2x1"),
    Refused("v5p out of order", _tpu(generation="v5p", topology="8x4x4"), "with A <= B <= C"),
    Refused("v5p no cubes", _tpu(generation="v5p", topology="4x4x6"), "each a multiple of 4"),
    Refused("v5p too large", _tpu(generation="v5p", topology="16x20x32"), "at most 8960 chips"),
    Refused("v5p with leading zero", _tpu(generation="v5p", topology="04x4x4"), "a v5p topology is one of"),
    Refused("v5p host", _tpu(generation="v5p", topology="4x4x4", chipsPerHost=8), "a v5p host has 4 chips"),
    Refused(
        "v6e host", _tpu(chipsPerHost=8), "v6e hosts have 4 chips, 1 with topology 1x1, and 4 or 8 with topology 2x4"
    ),
    Refused(
        "three kinds",
        {"accelerator": {"gpu": {"type": "nvidia-h100-80gb"}, "tpu": TPU["tpu"]}},
        "set exactly one of cpu, gpu and tpu",
    ),
    Refused("no slices", _tpu(slices=0), "greater than or equal to 1"),
    Refused("too many slices", _tpu(slices=65), "less than or equal to 64"),
    Refused("slices of one host", _tpu(topology="2x2", slices=2), "use a larger topology, or leave slices out"),
    Refused(
        "slices of one large host",
        _tpu(topology="2x4", chipsPerHost=8, slices=2),
        "only where each has several hosts",
    ),
    Refused("v5p slices of one host", _tpu(generation="v5p", topology="2x2x1", slices=2), "use a larger topology"),
    Refused(
        "too many chips",
        _tpu(generation="v5p", topology="16x20x28", slices=5),
        "a job has at most 40000 chips: use fewer slices or a smaller topology",
    ),
    Refused("no type of gpu", {"accelerator": {"cpu": None, "gpu": {"workers": 2}}}, "gpu.type: Required value"),
    Refused("unknown gpu", _gpu("h100"), 'supported values: "nvidia-tesla-a100", "nvidia-a100-80gb"'),
    Refused(
        "machine of three gpus",
        _gpu("nvidia-h100-80gb", perWorker=3),
        "machines with nvidia-h100-80gb have 1, 2, 4, 8 GPUs: set perWorker to one of 1, 2, 4, 8",
    ),
    Refused("h100 mega, half a machine", _gpu("nvidia-h100-mega-80gb", perWorker=4), "have 8 GPUs: set perWorker to 8"),
    Refused("a100 with 80 GB, sixteen", _gpu("nvidia-a100-80gb", perWorker=16), "set perWorker to one of 1, 2, 4, 8"),
    Refused("a100, too many", _gpu("nvidia-tesla-a100", perWorker=32), "less than or equal to 16"),
    Refused("no workers with gpus", _gpu("nvidia-h100-80gb", workers=0), "greater than or equal to 1"),
    Refused("no capacity of that name", {"capacity": {"mode": "Cheap"}}, 'supported values: "OnDemand", "Spot"'),
    Refused("no framework of that name", {"runtime": {"framework": "jax"}}, 'supported values: "JAX", "Plain"'),
)

_TEMPLATE = (
    Refused("no template", {"template": None}, "spec.template: Required value"),
    Refused("no containers", pod(containers=[]), "should have at least 1 items"),
    Refused("no trainer", pod(containers=[{"name": "main"}]), "no container is named 'trainer'"),
    Refused("two trainers", pod(containers=[TRAINER, TRAINER]), "Duplicate value"),
    Refused(
        "reserved container", pod(containers=[TRAINER, {"name": "holdfast-x"}]), "names of containers that begin with"
    ),
    Refused("reserved init container", pod(initContainers=[{"name": "holdfast-restore"}]), "are reserved"),
    Refused(
        "reserved volume", pod(volumes=[{"name": "holdfast-volume"}]), "names of volumes that begin with 'holdfast'"
    ),
    Refused(
        "mount of a reserved volume",
        trainer(volumeMounts=[{"name": "holdfast-token", "mountPath": "/token"}]),
        "names of volumes that begin with 'holdfast' are reserved",
    ),
    Refused(
        "reserved port", trainer(ports=[{"name": "holdfast", "containerPort": 80}]), "names of ports that begin with"
    ),
    Refused("reserved variable", variable("HOLDFAST_SOCKET"), "variables that begin with HOLDFAST_ are reserved"),
    Refused(
        "reserved variable of an init container",
        pod(initContainers=[{"name": "prepare", "env": [{"name": "HOLDFAST_ATTEMPT"}]}]),
        "variables that begin with HOLDFAST_ are reserved",
    ),
    Refused(
        "rendezvous of JAX",
        {"runtime": {"framework": "JAX"}, **variable("JAX_COORDINATOR_ADDRESS")},
        "framework JAX sets the rendezvous: remove JAX_COORDINATOR_ADDRESS",
    ),
    Refused(
        "rendezvous of JAX in an init container",
        {
            "runtime": {"framework": "JAX"},
            **pod(initContainers=[{"name": "prepare", "env": [{"name": "JAX_PROCESS_ID"}]}]),
        },
        "from the environment of init containers",
    ),
    Refused("place in a slice", {"accelerator": TPU, **variable("TPU_WORKER_ID")}, "remove TPU_WORKER_ID"),
    Refused(
        "chips by hand",
        {"accelerator": TPU, **trainer(resources={"limits": {"google.com/tpu": 4}})},
        "leave google.com/tpu out of the trainer's resources",
    ),
    Refused(
        "place among slices",
        {"accelerator": {"cpu": None, "tpu": {**TPU["tpu"], "slices": 2}}, **variable("MEGASCALE_SLICE_ID")},
        "accelerator.tpu.slices joins the slices: remove MEGASCALE_COORDINATOR_ADDRESS",
    ),
    Refused(
        "one pool for two slices",
        {
            "accelerator": {"cpu": None, "tpu": {**TPU["tpu"], "slices": 2}},
            **pod(nodeSelector={"cloud.google.com/gke-nodepool": "mine"}),
        },
        "each slice gets a node pool of its own: remove cloud.google.com/gke-nodepool",
    ),
    Refused(
        "gpus by hand",
        {**_gpu("nvidia-h100-80gb"), **trainer(resources={"requests": {"nvidia.com/gpu": 8}})},
        "leave nvidia.com/gpu out of the trainer's resources: it follows from accelerator.gpu",
    ),
    Refused("restart policy", pod(restartPolicy="Always"), "leave restartPolicy out or set it to Never"),
    Refused("host name", pod(hostname="a"), "leave hostname and subdomain out"),
    Refused("subdomain", pod(subdomain="a"), "leave hostname and subdomain out"),
    Refused(
        "container's restart policy", trainer(restartPolicy="Always"), "leave restartPolicy out or set it to Never"
    ),
    Refused("node name", pod(nodeName="a"), "use nodeSelector or affinity"),
    Refused("grace period", pod(terminationGracePeriodSeconds=5), "set checkpoint.flushTimeout, from which it follows"),
    Refused(
        "mount in the directory",
        trainer(volumeMounts=[{"name": "data", "mountPath": "/checkpoints/"}]),
        "the trainer mounts a volume of its own in checkpoint.directory",
    ),
    Refused(
        "mount below the directory",
        trainer(volumeMounts=[{"name": "data", "mountPath": "/checkpoints/7"}]),
        "remove the mount or change checkpoint.directory",
    ),
    Refused(
        "mount in the run directory",
        trainer(volumeMounts=[{"name": "data", "mountPath": "/run/holdfast"}]),
        "where Holdfast mounts its volumes",
    ),
    Refused(
        "non-root pod without a user", pod(securityContext={"runAsNonRoot": True}), "set securityContext.runAsUser"
    ),
    Refused("non-root trainer without a user", trainer(securityContext={"runAsNonRoot": True}), "runAsUser"),
    Refused("non-root with user 0", pod(securityContext={"runAsNonRoot": True, "runAsUser": 0}), "one greater than 0"),
)

_CHECKPOINT = (
    Refused("no destination", _checkpoint(destination=None), "spec.checkpoint.destination: Required value"),
    Refused("no scheme", _checkpoint(destination="bucket/prefix"), "write gs://<bucket>/<prefix>"),
    Refused("no prefix", _checkpoint(destination="gs://bucket"), "write gs://<bucket>/<prefix>"),
    Refused("slash at the end", _checkpoint(destination=f"{DESTINATION}/"), "without a slash at the end"),
    Refused("way up", _checkpoint(destination="gs://bucket/a/../b"), "does not begin with '.'"),
    Refused("capital bucket", _checkpoint(destination="gs://Bucket/a"), "a bucket's name in lower case"),
    Refused("relative directory", _checkpoint(directory="checkpoints"), "write an absolute path"),
    Refused("directory with a way up", _checkpoint(directory="/a/../b"), "write an absolute path"),
    Refused("own directory", _checkpoint(directory="/run/holdfast/x"), "is Holdfast's own: choose another directory"),
    Refused("no volume", _checkpoint(volume={}), "set exactly one kind of volume: disk"),
    Refused("odd size", _checkpoint(volume={"disk": {"sizeLimit": "20 GB"}}), "such as 500Mi or 20Gi"),
    Refused("no steps", _checkpoint(cadence={"everySteps": 0}), "greater than or equal to 1"),
    Refused("keeps one", _checkpoint(retention={"keepLast": 1}), "greater than or equal to 2"),
    Refused("unknown format", _checkpoint(format="Torch"), 'supported values: "Auto", "Orbax", "Marker"'),
    Refused("step is missing", _checkpoint(restore={"policy": "Step"}), "policy Step needs a step: set restore.step"),
    Refused("step without its policy", _checkpoint(restore={"step": 7}), "step is only for policy Step"),
    Refused("number as a duration", _checkpoint(flushTimeout="600"), "such as 1h30m, 10m or 45s"),
    Refused("empty duration", _checkpoint(flushTimeout=""), "such as 1h30m, 10m or 45s"),
    Refused("units out of order", _checkpoint(flushTimeout="5s10m"), "such as 1h30m, 10m or 45s"),
    Refused("flush without time", _checkpoint(flushTimeout="0s"), "flushTimeout must be between 1s and 24h"),
    Refused("flush for days", _checkpoint(flushTimeout="25h"), "flushTimeout must be between 1s and 24h"),
)


def _volume(**kind: Any) -> Fields:
    return _checkpoint(volume=kind)


def _claims(**fields: Any) -> Fields:
    return _volume(claimTemplate={"resources": {"requests": {"storage": "20Gi"}}, **fields})


_VOLUME = (
    Refused("no kind of volume", _checkpoint(volume={"disk": None}), "set exactly one kind of volume"),
    Refused("two kinds of volume", _volume(disk={}, sharedClaim={"claimName": "a"}), "set exactly one kind of volume"),
    Refused("all but a size", _volume(memory={}), "spec.checkpoint.volume.memory.sizeLimit: Required value"),
    Refused(
        "memory without a limit of the trainer", _volume(memory={"sizeLimit": "8Gi"}), "set resources.limits.memory"
    ),
    Refused(
        "memory with another limit",
        {**_volume(memory={"sizeLimit": "8Gi"}), **trainer(resources={"limits": {"cpu": "4"}})},
        "set resources.limits.memory",
    ),
    Refused("fraction of a size", _volume(disk={"sizeLimit": "1.5Gi"}), "such as 500Mi or 20Gi"),
    Refused("no size of claims", _claims(resources=None), "claimTemplate.resources: Required value"),
    Refused("size of nothing", _claims(resources={"requests": {}}), "requests.storage: Required value"),
    Refused("claims in words", _claims(resources={"requests": {"storage": "plenty"}}), "such as 500Mi or 20Gi"),
    Refused("class in capitals", _claims(storageClassName="Fast"), "write the name of an object in the cluster"),
    Refused(
        "unknown access mode",
        _claims(accessModes=["ReadOnlyMany"]),
        'supported values: "ReadWriteOnce", "ReadWriteOncePod"',
    ),
    Refused("no access mode", _claims(accessModes=[]), "should have at least 1 items"),
    Refused("access mode twice", _claims(accessModes=["ReadWriteOnce"] * 2), "Duplicate value"),
    Refused(
        "one pod and many", _claims(accessModes=["ReadWriteOncePod", "ReadWriteMany"]), "cannot be combined with other"
    ),
    Refused("shared claim without a name", _volume(sharedClaim={}), "sharedClaim.claimName: Required value"),
    Refused("way out of the namespace", _volume(sharedClaim={"claimName": "a/b"}), "write the name of an object"),
    Refused("layout by hand", _volume(disk={}, layout="Shared"), 'unknown field "spec.checkpoint.volume.layout"'),
    Refused("own layout variable", variable("HOLDFAST_LAYOUT"), "variables that begin with HOLDFAST_ are reserved"),
)

_RECOVERY = (
    Refused("too many restarts", {"recovery": {"maxRestarts": 101}}, "less than or equal to 100"),
    Refused("no window", {"recovery": {"restartWindow": "10s"}}, "restartWindow must be between 1m and 8760h"),
    Refused("back-off", {"recovery": {"backoff": {"initial": "10m"}}}, "backoff.initial must not exceed backoff.max"),
    Refused("long back-off", {"recovery": {"backoff": {"max": "25h"}}}, "backoff.max must not exceed 24h"),
    Refused("exit code 0", {"recovery": {"finalExitCodes": [0]}}, "greater than or equal to 1"),
    Refused("exit code 256", {"recovery": {"finalExitCodes": [256]}}, "less than or equal to 255"),
    Refused("exit code twice", {"recovery": {"finalExitCodes": [3, 3]}}, "Duplicate value"),
    Refused("node lost at once", {"recovery": {"nodeLostTimeout": "0s"}}, "nodeLostTimeout must be between 1s and 24h"),
    Refused("stall at once", {"recovery": {"stallTimeout": "10s"}}, "stallTimeout must be between 30s and 168h"),
    Refused(
        "stall without ears", {"recovery": {"stallTimeout": "5m"}, "checkpoint": None}, "needs a checkpoint section"
    ),
    Refused("window in words", {"recovery": {"restartWindow": "a day"}}, "such as 1h30m, 10m or 45s"),
    Refused("back-off with a fraction", {"recovery": {"backoff": {"initial": "1.5s"}}}, "such as 1h30m, 10m or 45s"),
    Refused("negative timeout", {"recovery": {"nodeLostTimeout": "-5s"}}, "such as 1h30m, 10m or 45s"),
    Refused("stall in days", {"recovery": {"stallTimeout": "1d"}}, "such as 1h30m, 10m or 45s"),
    Refused("typing error", {"recovery": {"maxRestart": 3}}, 'unknown field "spec.recovery.maxRestart"'),
    Refused("suspend in words", {"suspend": "yes"}, "must be of type boolean"),
)

_LIFECYCLE = (
    Refused("no time at all", {"activeDeadline": "0s"}, "activeDeadline must be between 1s and 87600h"),
    Refused("more than a life", {"activeDeadline": "87601h"}, "activeDeadline must be between 1s and 87600h"),
    Refused("deadline in seconds", {"activeDeadline": 3600}, "must be of type string"),
    Refused("deadline without a unit", {"activeDeadline": "3600"}, "such as 1h30m, 10m or 45s"),
    Refused("kept for too long", {"ttlAfterFinished": "87601h"}, "ttlAfterFinished must not exceed 87600h"),
    Refused("kept for days", {"ttlAfterFinished": "7d"}, "such as 1h30m, 10m or 45s"),
    Refused("label too long", {"template": {"metadata": {"labels": {"team": "x" * 64}}}}, "Too long"),
    Refused("container's name too long", pod(containers=[TRAINER, {"name": "x" * 64}]), "Too long"),
    Refused("typing error at the top", {"activeDeadlines": "1h"}, 'unknown field "spec.activeDeadlines"'),
    Refused("typing error in a section", _checkpoint(destinatoin="x"), 'unknown field "spec.checkpoint.destinatoin"'),
    Refused("typing error in the accelerator", {"accelerator": {"cpu": {"worker": 2}}}, 'unknown field "spec.acc'),
    Refused("typing error beside the pod", {"template": {"metadata": {"label": {}}}}, 'unknown field "spec.template.m'),
)

SPECS: Final = _ACCELERATOR + _TEMPLATE + _CHECKPOINT + _VOLUME + _RECOVERY + _LIFECYCLE

NAMES: Final = (
    ("a" * 41, "use at most 40 lower-case letters"),
    ("7th", "begin with a letter"),
    ("a.b", "lower-case letters, digits and '-'"),
)

# Changes of the job that exists already (the fixture `settled`).
UPDATES: Final = (
    Refused(
        "accelerator", {"accelerator": {"cpu": {"workers": 3}}}, "accelerator is immutable: create a new TrainingJob"
    ),
    Refused("capacity", {"capacity": {"mode": "Spot"}}, "capacity is immutable"),
    Refused("runtime", {"runtime": {"framework": "JAX"}}, "runtime is immutable"),
    Refused("image", pod(containers=[{**TRAINER, "image": "other"}]), "template is immutable"),
    Refused("priority", pod(priorityClassName="low"), "template is immutable"),
    Refused("one field for another", pod(priorityClassName=None, runtimeClassName="high"), "template is immutable"),
    Refused("kind of volume", pod(volumes=[{"name": "scratch", "hostPath": {"path": "/"}}]), "template is immutable"),
    Refused("field of the trainer", trainer(workingDir="/srv"), "template is immutable"),
    Refused("another command", trainer(command=["sh"]), "template is immutable"),
    Refused("directory", _checkpoint(directory="/other"), "checkpoint.directory is immutable"),
    Refused("volume", _checkpoint(volume={"disk": {"sizeLimit": "1Gi"}}), "checkpoint.volume is immutable"),
    Refused("another kind", _volume(sharedClaim={"claimName": "a"}, disk=None), "checkpoint.volume is immutable"),
    Refused("destination", _checkpoint(destination="gs://bucket/other"), "checkpoint.destination is immutable"),
    Refused("format", _checkpoint(format="Orbax"), "checkpoint.format is immutable"),
    Refused("no more checkpoints", {"checkpoint": None}, "checkpoint cannot be added or removed"),
    Refused("later fault", merged(_checkpoint(), {"recovery": {"maxRestarts": -1}}), "greater than or equal to 0"),
)
