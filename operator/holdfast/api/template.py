"""`spec.template`: a pod template, of which only what the rules read is declared.

Everything else is kept as it is and checked by a dry run of the first pod. `dump` gives back exactly what was applied.
Limits are there so that the API server can bound what the rules cost.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from holdfast.api.labels import RESERVED_PREFIX, TRAINER
from holdfast.api.model import ApiModel, OpenModel, Rule, atomic, keyed, rules

RESERVED_VARIABLE_PREFIX: Final = "HOLDFAST_"

_Text = Annotated[str, Field(max_length=4096)]
_Argument = Annotated[str, Field(max_length=65536)]
_DnsLabel = Annotated[str, Field(min_length=1, max_length=63)]
_UserId = Annotated[int, Field(ge=0, le=2**31 - 1)]


def _not_reserved(what: str) -> Rule:
    return Rule(
        f"!self.name.startsWith('{RESERVED_PREFIX}')",
        f"names of {what} that begin with '{RESERVED_PREFIX}' are reserved: choose another name",
    )


class EnvironmentVariable(OpenModel):
    """One variable of a container's environment."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                f"!self.name.startsWith('{RESERVED_VARIABLE_PREFIX}')",
                f"variables that begin with {RESERVED_VARIABLE_PREFIX} are reserved: remove it or choose another name",
            )
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """The variable's name."""

    value: Annotated[str, Field(max_length=131072)] | None = None
    """The variable's value."""


class ContainerPort(OpenModel):
    """One port of a container."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                f"!has(self.name) || !self.name.startsWith('{RESERVED_PREFIX}')",
                f"names of ports that begin with '{RESERVED_PREFIX}' are reserved: choose another name",
            )
        )
    )

    name: Annotated[str, Field(max_length=15)] | None = None
    """The port's name."""

    container_port: Annotated[int, Field(ge=1, le=65535)]
    """The port's number."""


class VolumeMount(OpenModel):
    """Where a volume appears in a container."""

    model_config = ConfigDict(json_schema_extra=rules(_not_reserved("volumes")))

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """The volume's name."""

    mount_path: Annotated[str, Field(min_length=1, max_length=1024)]
    """Where the volume appears in the container."""


class SecurityContext(OpenModel):
    """Who a container runs as. Restore and sidecar run as the trainer does, so that they can read what it writes."""

    run_as_user: _UserId | None = None
    """The user's number."""

    run_as_group: _UserId | None = None
    """The group's number."""

    run_as_non_root: bool | None = None
    """Whether the kubelet refuses to start the container as root."""


class PodSecurityContext(SecurityContext):
    """Who the pod's containers run as where they do not say so themselves."""

    fs_group: _UserId | None = None
    """The group that owns the files on the pod's volumes."""

    supplemental_groups: Annotated[tuple[_UserId, ...], Field(max_length=64, json_schema_extra=atomic())] | None = None
    """Further groups of the pod's processes."""


class Resources(OpenModel):
    """What a container asks for."""

    limits: Annotated[dict[str, int | str], Field(max_length=32)] | None = None
    """The most that the container may use."""

    requests: Annotated[dict[str, int | str], Field(max_length=32)] | None = None
    """What the scheduler sets aside for the container."""


class Container(OpenModel):
    """One container of the pod."""

    model_config = ConfigDict(json_schema_extra=rules(_not_reserved("containers")))

    name: _DnsLabel
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

    security_context: SecurityContext | None = None
    """Who the container runs as."""


class Volume(OpenModel):
    """One volume of the pod."""

    model_config = ConfigDict(json_schema_extra=rules(_not_reserved("volumes")))

    name: _DnsLabel
    """The volume's name."""


class PodSpec(OpenModel):
    """The pod that every worker runs as."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                f"self.containers.exists(c, c.name == '{TRAINER}')",
                f"no container is named '{TRAINER}': give that name to the one that runs the training program",
            ),
            Rule(
                "!has(self.restartPolicy) || self.restartPolicy == 'Never'",
                "leave restartPolicy out or set it to Never: Holdfast restarts the whole gang from the newest commit",
            ),
            Rule(
                "!has(self.hostname) && !has(self.subdomain)",
                "leave hostname and subdomain out: Holdfast sets them so that workers find each other",
            ),
            Rule("!has(self.nodeName)", "leave nodeName out: use nodeSelector or affinity, so that workers can move"),
        )
    )

    containers: Annotated[tuple[Container, ...], Field(min_length=1, max_length=8, json_schema_extra=keyed("name"))]
    """The pod's containers; the one named trainer is the training program."""

    init_containers: Annotated[tuple[Container, ...], Field(max_length=8, json_schema_extra=keyed("name"))] | None = (
        None
    )
    """Containers that run before the trainer, after Holdfast's own."""

    volumes: Annotated[tuple[Volume, ...], Field(max_length=32, json_schema_extra=keyed("name"))] | None = None
    """The pod's volumes; Holdfast adds its own."""

    node_selector: Annotated[dict[str, _Text], Field(max_length=32)] | None = None
    """Labels that nodes must carry besides those that the accelerator and the capacity ask for."""

    restart_policy: Annotated[str, Field(max_length=16)] | None = None
    """Never, or left out."""

    hostname: _DnsLabel | None = None
    """Set by Holdfast: leave it out."""

    subdomain: _DnsLabel | None = None
    """Set by Holdfast: leave it out."""

    node_name: Annotated[str, Field(max_length=253)] | None = None
    """Chosen by the scheduler: leave it out."""

    service_account_name: Annotated[str, Field(max_length=253)] | None = None
    """The identity that the pod, and with it the upload to the bucket, runs under."""

    host_network: bool | None = None
    """Whether the pod uses the node's network."""

    security_context: PodSecurityContext | None = None
    """Who the pod's containers run as where they do not say so themselves."""

    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=86400)] | None = None
    """How long the pod may take to end; with a checkpoint section it follows from checkpoint.flushTimeout."""


class TemplateMetadata(OpenModel):
    """Labels and annotations of the workers' pods."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] | None = None
    """Labels of the workers' pods; Holdfast adds its own."""

    annotations: Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)] | None = None
    """Annotations of the workers' pods; Holdfast adds its own."""


class PodTemplate(ApiModel):
    """The pod that every worker runs as. Holdfast adds the restore step, the sidecar, volumes and environment."""

    metadata: TemplateMetadata | None = None
    """Labels and annotations of the workers' pods."""

    spec: PodSpec
    """The pod's specification, as in any pod template."""

    def dump(self) -> dict[str, Any]:
        """Return the template as it was applied, undeclared fields included."""
        return self.model_dump(by_alias=True, exclude_unset=True, mode="json")
