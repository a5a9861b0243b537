"""What Holdfast adds to a user's pod: the restore step, the sidecar, their volumes, and the trainer's view of them.

Order in the pod: restore (init container), sidecar (init container with `restartPolicy: Always`), then the template's
own init containers, then the main ones. What is added satisfies the Restricted pod security level where the template
sets a non-zero user, else Baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from holdfast.api import labels as names
from holdfast.api import wire
from holdfast.planning.observed import Settings

Fields = dict[str, Any]

_ROOT_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
_TOKEN_LIFETIME_S = 3600
# What restore and sidecar ask for, and the memory that they may use at the most.
REQUESTS: Final[Mapping[str, str]] = {"cpu": "10m", "memory": "64Mi"}
MEMORY: Final = "512Mi"


@dataclass(frozen=True, slots=True)
class Storage:
    """Where checkpoints are on their way to the bucket.

    `source` is the pod's volume as the Pod API has it, `path` the directory of the job in it (all of it where empty),
    `restore_memory` the memory limit of the restore step.
    """

    source: Mapping[str, Any]
    path: str = ""
    restore_memory: str = MEMORY


@dataclass(frozen=True, slots=True)
class Injection:
    """What one pod gets. `directory` is where the trainer sees its checkpoints."""

    config: wire.SidecarConfig
    directory: str
    settings: Settings
    storage: Storage


def identity(pod_spec: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the trainer's user and group as the template sets them, each None where it sets none."""
    pod_level = pod_spec.get("securityContext") or {}
    trainer: Mapping[str, Any] = next((c for c in pod_spec.get("containers", []) if c.get("name") == names.TRAINER), {})
    own = trainer.get("securityContext") or {}
    user = own.get("runAsUser", pod_level.get("runAsUser"))
    group = own.get("runAsGroup", pod_level.get("runAsGroup"))
    return user, group


def runs_as_root(pod_spec: Mapping[str, Any]) -> bool:
    """Say whether restore and sidecar have to run as root, because the template does not name a user."""
    user, _ = identity(pod_spec)
    return not user


def inject(pod_spec: Fields, injection: Injection) -> None:
    """Add restore, sidecar, volumes, mounts and environment to `pod_spec`, in place."""
    settings = injection.settings
    user, group = identity(pod_spec)
    common: Fields = {
        "image": settings.sidecar_image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(injection),
        "volumeMounts": _own_mounts(injection),
        "securityContext": _security_context(user, group),
        "resources": _resources(MEMORY),
        "terminationMessagePolicy": "File",
    }
    restore = {
        "name": names.RESTORE_CONTAINER,
        "command": ["holdfast-sidecar", "restore"],
        **common,
        "resources": _resources(injection.storage.restore_memory),
    }
    sidecar = {
        "name": names.SIDECAR_CONTAINER,
        "command": ["holdfast-sidecar", "run"],
        "restartPolicy": "Always",
        "lifecycle": {"preStop": {"exec": {"command": ["holdfast-sidecar", "flush"]}}},
        **common,
    }
    pod_spec["initContainers"] = [restore, sidecar, *pod_spec.get("initContainers", [])]
    pod_spec["volumes"] = [*pod_spec.get("volumes", []), *_volumes(injection)]
    pod_spec["containers"] = [
        _with_trainer_view(container, injection) if container.get("name") == names.TRAINER else container
        for container in pod_spec["containers"]
    ]
    pod_spec["terminationGracePeriodSeconds"] = max(1, int(injection.config.flush_timeout_s))


def _resources(memory: str) -> Fields:
    return {"requests": dict(REQUESTS), "limits": {"memory": memory}}


def _environment(injection: Injection) -> list[Fields]:
    config = msgspec.json.encode(injection.config).decode()
    fixed: list[Fields] = [
        {"name": wire.CONFIG_VARIABLE, "value": config},
        {"name": wire.POD_NAME_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": wire.POD_UID_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ]
    if injection.settings.ca_pem:
        fixed.append({"name": wire.CA_VARIABLE, "value": injection.settings.ca_pem})
    extra = sorted(injection.settings.sidecar_environment.items())
    return fixed + [{"name": name, "value": value} for name, value in extra]


def _own_mounts(injection: Injection) -> list[Fields]:
    path = injection.storage.path
    mounts: list[Fields] = [
        {"name": names.VOLUME, "mountPath": wire.VOLUME_ROOT, **({"subPath": path} if path else {})},
        {"name": names.RUN_VOLUME, "mountPath": wire.RUN_DIRECTORY},
    ]
    if injection.settings.report_url:
        directory = wire.TOKEN_PATH.rsplit("/", 1)[0]
        mounts.append({"name": names.TOKEN_VOLUME, "mountPath": directory, "readOnly": True})
    return mounts


def _volumes(injection: Injection) -> list[Fields]:
    volumes: list[Fields] = [
        {"name": names.VOLUME, **injection.storage.source},
        {"name": names.RUN_VOLUME, "emptyDir": {"sizeLimit": "16Mi"}},
    ]
    if injection.settings.report_url:
        token = {"audience": wire.AUDIENCE, "expirationSeconds": _TOKEN_LIFETIME_S, "path": "token"}
        volumes.append(
            {"name": names.TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 292}}
        )
    return volumes


def _security_context(user: int | None, group: int | None) -> Fields:
    context: Fields = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "capabilities": {"drop": ["ALL"]},
    }
    if user:
        context |= {"runAsUser": user, "runAsNonRoot": True}
    else:
        # The trainer's user is its image's and unknown here: only root can read and link whatever it writes.
        context |= {"runAsUser": 0, "runAsNonRoot": False}
        context["capabilities"] = {"drop": ["ALL"], "add": list(_ROOT_CAPABILITIES)}
    if group is not None:
        context["runAsGroup"] = group
    return context


def _with_trainer_view(container: Fields, injection: Injection) -> Fields:
    """Return the trainer with its own sub-path of the volume, the socket's directory, and what it is told."""
    config = injection.config
    own = f"data/{config.attempt}"
    path = f"{injection.storage.path}/{own}" if injection.storage.path else own
    told = {
        "HOLDFAST_CHECKPOINT_DIR": injection.directory,
        "HOLDFAST_RESTORED_STEP_FILE": wire.RESTORED_STEP_PATH,
        "HOLDFAST_EVERY_STEPS": str(config.every_steps),
        "HOLDFAST_ATTEMPT": str(config.attempt),
        "HOLDFAST_SOCKET": wire.SOCKET_PATH,
        "HOLDFAST_SLOT": config.slot,
        "HOLDFAST_LAYOUT": config.layout,
    }
    mounts = [
        {"name": names.VOLUME, "mountPath": injection.directory, "subPath": path},
        {"name": names.RUN_VOLUME, "mountPath": wire.RUN_DIRECTORY},
    ]
    return {
        **container,
        "env": [*container.get("env", []), *({"name": key, "value": value} for key, value in told.items())],
        "volumeMounts": [*container.get("volumeMounts", []), *mounts],
    }
