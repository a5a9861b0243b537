"""The rules of a TrainingJob's spec that look at more than one of its sections."""

from __future__ import annotations

from typing import Final

from holdfast.api.labels import TRAINER
from holdfast.api.model import Rule, once
from holdfast.api.wire import RUN_DIRECTORY

# What Holdfast sets for the framework and for the hardware; a template's own value would contradict it.
JAX_ENVIRONMENT: Final = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TPU_ENVIRONMENT: Final = ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")
MULTISLICE_ENVIRONMENT: Final = (
    "MEGASCALE_COORDINATOR_ADDRESS",
    "MEGASCALE_NUM_SLICES",
    "MEGASCALE_PORT",
    "MEGASCALE_SLICE_ID",
)
TPU_RESOURCE: Final = "google.com/tpu"
GPU_RESOURCE: Final = "nvidia.com/gpu"
NODE_POOL: Final = "cloud.google.com/gke-nodepool"

_POD: Final = "self.template.spec"
_MULTISLICE: Final = "has(self.accelerator.tpu) && self.accelerator.tpu.slices > 1"


def _names(items: tuple[str, ...]) -> str:
    return ", ".join(f"'{item}'" for item in items)


def _free_of(names: tuple[str, ...], containers: str) -> str:
    return f"{containers}.all(c, !has(c.env) || c.env.all(e, !(e.name in [{_names(names)}])))"


def _reserved(condition: str, names: tuple[str, ...], because: str) -> tuple[Rule, Rule]:
    message = f"{because}: remove {', '.join(names)} from the environment of {{}}"
    return (
        Rule(f"!({condition}) || {_free_of(names, f'{_POD}.containers')}", message.format("containers")),
        Rule(
            f"!({condition}) || !has({_POD}.initContainers) || {_free_of(names, f'{_POD}.initContainers')}",
            message.format("init containers"),
        ),
    )


def _trainer(body: str) -> str:
    return f"{_POD}.containers.all(c, c.name != '{TRAINER}' || {body})"


def _left_to_us(kind: str, resource: str) -> Rule:
    asks = (
        f"!has(c.resources) || ((!has(c.resources.limits) || !('{resource}' in c.resources.limits)) && "
        f"(!has(c.resources.requests) || !('{resource}' in c.resources.requests)))"
    )
    return Rule(
        f"!has(self.accelerator.{kind}) || {_trainer(asks)}",
        f"leave {resource} out of the trainer's resources: it follows from accelerator.{kind}",
    )


_NON_ROOT: Final = f"c.?securityContext.?runAsNonRoot.orValue({_POD}.?securityContext.?runAsNonRoot.orValue(false))"
_USER: Final = f"c.?securityContext.?runAsUser.orValue({_POD}.?securityContext.?runAsUser.orValue(0))"

# What these read never changes.
_AT_CREATION: Final = (
    *_reserved("self.runtime.framework == 'JAX'", JAX_ENVIRONMENT, "framework JAX sets the rendezvous"),
    *_reserved("has(self.accelerator.tpu)", TPU_ENVIRONMENT, "accelerator.tpu sets the worker's place in its slice"),
    *_reserved(
        _MULTISLICE,
        MULTISLICE_ENVIRONMENT,
        "accelerator.tpu.slices joins the slices",
    ),
    Rule(
        f"!({_MULTISLICE}) || !has({_POD}.nodeSelector) || !('{NODE_POOL}' in {_POD}.nodeSelector)",
        f"each slice gets a node pool of its own: remove {NODE_POOL} from template.spec.nodeSelector",
    ),
    _left_to_us("tpu", TPU_RESOURCE),
    _left_to_us("gpu", GPU_RESOURCE),
    Rule(
        "!has(self.checkpoint) || "
        + _trainer(
            "!has(c.volumeMounts) || c.volumeMounts.all(m, "
            "!(m.mountPath + '/').startsWith(self.checkpoint.directory + '/') "
            f"&& !(m.mountPath + '/').startsWith('{RUN_DIRECTORY}/'))"
        ),
        "the trainer mounts a volume of its own in checkpoint.directory or in "
        f"{RUN_DIRECTORY}, where Holdfast mounts its volumes: remove the mount or change checkpoint.directory",
    ),
    Rule(
        "!has(self.checkpoint) || !has(self.checkpoint.volume.memory) || "
        + _trainer("has(c.resources) && has(c.resources.limits) && 'memory' in c.resources.limits"),
        "checkpoint.volume.memory needs a memory limit of the trainer, greater than the volume's sizeLimit: set "
        "resources.limits.memory",
    ),
    Rule(
        f"!has(self.checkpoint) || {_trainer(f'!{_NON_ROOT} || {_USER} > 0')}",
        "runAsNonRoot needs the user's number, since the sidecar must run as the same user: set "
        "securityContext.runAsUser to one greater than 0",
    ),
    Rule(
        f"!has(self.checkpoint) || !has({_POD}.terminationGracePeriodSeconds)",
        "leave terminationGracePeriodSeconds out: set checkpoint.flushTimeout, from which it follows",
    ),
)

SPEC_RULES: Final = (
    Rule(
        "has(self.checkpoint) == has(oldSelf.checkpoint)",
        "checkpoint cannot be added or removed: create a new TrainingJob",
    ),
    Rule(
        "has(self.checkpoint) || !has(self.recovery.stallTimeout)",
        "recovery.stallTimeout needs a checkpoint section, whose sidecar hears the trainer's steps: add one or remove "
        "stallTimeout",
    ),
    *once(*_AT_CREATION),
)
