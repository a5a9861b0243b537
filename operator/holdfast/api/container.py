"""`spec.template.spec.containers`: the part of a container that the rules read."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from holdfast.api import pod_fields
from holdfast.api.labels import RESERVED_PREFIX
from holdfast.api.model import OpenModel, Rule, atomic, opaque, rules

RESERVED_VARIABLE_PREFIX: Final = "HOLDFAST_"

DnsLabel = Annotated[str, Field(min_length=1, max_length=63)]
_Argument = Annotated[str, Field(max_length=65536)]
_UserId = Annotated[int, Field(ge=0, le=2**31 - 1)]


def not_reserved(what: str) -> Rule:
    """Return the rule that keeps names of this kind of thing off those that Holdfast uses."""
    return Rule(
        f"!self.startsWith('{RESERVED_PREFIX}')",
        f"names of {what} that begin with '{RESERVED_PREFIX}' are reserved: choose another name",
    )


class EnvironmentVariable(OpenModel):
    """One variable of a container's environment."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.VARIABLE))

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            json_schema_extra=rules(
                Rule(
                    f"!self.startsWith('{RESERVED_VARIABLE_PREFIX}')",
                    f"variables that begin with {RESERVED_VARIABLE_PREFIX} are reserved: choose another name",
                )
            ),
        ),
    ]
    """The variable's name."""

    value: Annotated[str, Field(max_length=131072)] | None = None
    """The variable's value."""


class ContainerPort(OpenModel):
    """One port of a container."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.PORT))

    name: Annotated[str, Field(max_length=15, json_schema_extra=rules(not_reserved("ports")))] | None = None
    """The port's name."""

    container_port: Annotated[int, Field(ge=1, le=65535)]
    """The port's number."""


class VolumeMount(OpenModel):
    """Where a volume appears in a container."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.MOUNT))

    name: Annotated[DnsLabel, Field(json_schema_extra=rules(not_reserved("volumes")))]
    """The volume's name."""

    mount_path: Annotated[str, Field(min_length=1, max_length=1024)]
    """Where the volume appears in the container."""


class SecurityContext(OpenModel):
    """Who a container runs as. Restore and sidecar run as the trainer does, so that they can read what it writes."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.SECURITY_CONTEXT))

    run_as_user: _UserId | None = None
    """The user's number."""

    run_as_group: _UserId | None = None
    """The group's number."""

    run_as_non_root: bool | None = None
    """Whether the kubelet refuses to start the container as root."""


class PodSecurityContext(SecurityContext):
    """Who the pod's containers run as where they do not say so themselves."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.POD_SECURITY_CONTEXT))

    fs_group: _UserId | None = None
    """The group that owns the files on the pod's volumes."""

    supplemental_groups: Annotated[tuple[_UserId, ...], Field(max_length=64, json_schema_extra=atomic())] | None = None
    """Further groups of the pod's processes."""


class Resources(OpenModel):
    """What a container asks for."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.RESOURCES))

    limits: Annotated[dict[str, int | str], Field(max_length=32)] | None = None
    """The most that the container may use."""

    requests: Annotated[dict[str, int | str], Field(max_length=32)] | None = None
    """What the scheduler sets aside for the container."""


class Container(OpenModel):
    """One container of the pod."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.CONTAINER))

    name: Annotated[DnsLabel, Field(json_schema_extra=rules(not_reserved("containers")))]
    """The container's name."""

    image: Annotated[str, Field(max_length=1024)] | None = None
    """The image that the container runs."""

    command: Annotated[tuple[_Argument, ...], Field(max_length=1024, json_schema_extra=atomic())] | None = None
    """The program, in place of the image's entry point."""

    args: Annotated[tuple[_Argument, ...], Field(max_length=1024, json_schema_extra=atomic())] | None = None
    """The program's arguments."""

    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=128, json_schema_extra=atomic())] | None = None
    """The container's environment."""

    ports: Annotated[tuple[ContainerPort, ...], Field(max_length=32, json_schema_extra=atomic())] | None = None
    """The container's ports."""

    volume_mounts: Annotated[tuple[VolumeMount, ...], Field(max_length=32, json_schema_extra=atomic())] | None = None
    """Where volumes appear in the container."""

    resources: Resources | None = None
    """What the container asks for."""

    restart_policy: Annotated[str, Field(max_length=16)] | None = None
    """Always makes an init container a sidecar; the other containers leave it out."""

    security_context: SecurityContext | None = None
    """Who the container runs as."""
