"""`spec.template`: a pod template, of which only what the rules read is declared.

Everything else is kept as it is and checked by a dry run of the first pod. `dump` gives back exactly what was applied.
Limits are there so that the API server can bound what the rules cost. The names of the other fields are those of
Kubernetes 1.36 (`opaque`); fields of later versions are kept as well.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from holdfast.api import pod_fields
from holdfast.api.container import Container, DnsLabel, PodSecurityContext, not_reserved
from holdfast.api.labels import TRAINER
from holdfast.api.model import ApiModel, OpenModel, Rule, keyed, once, opaque, rules

_NEVER: Final = "Never"

_RESTART_POLICY: Final = "leave restartPolicy out or set it to Never: Holdfast restarts the gang from the newest commit"

_Text = Annotated[str, Field(max_length=4096)]
_HostName = Annotated[
    DnsLabel,
    Field(
        json_schema_extra=rules(
            Rule("false", "leave hostname and subdomain out: Holdfast sets them so that workers find each other")
        )
    ),
]


class Volume(OpenModel):
    """One volume of the pod."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.VOLUME))

    name: Annotated[DnsLabel, Field(json_schema_extra=rules(not_reserved("volumes")))]
    """The volume's name."""


class PodSpec(OpenModel):
    """The pod that every worker runs as."""

    model_config = ConfigDict(json_schema_extra=opaque(*pod_fields.POD_SPEC))

    containers: Annotated[
        tuple[Container, ...],
        Field(
            min_length=1,
            max_length=8,
            json_schema_extra={
                **keyed("name"),
                **rules(
                    *once(
                        Rule(
                            f"self.exists(c, c.name == '{TRAINER}')",
                            f"no container is named '{TRAINER}': give that name to the one that runs the training "
                            "program",
                        ),
                        Rule(f"self.all(c, !has(c.restartPolicy) || c.restartPolicy == '{_NEVER}')", _RESTART_POLICY),
                    )
                ),
            },
        ),
    ]
    """The pod's containers; the one named trainer is the training program."""

    init_containers: Annotated[tuple[Container, ...], Field(max_length=8, json_schema_extra=keyed("name"))] | None = (
        None
    )
    """Containers that run before the trainer, after Holdfast's own."""

    volumes: Annotated[tuple[Volume, ...], Field(max_length=32, json_schema_extra=keyed("name"))] | None = None
    """The pod's volumes; Holdfast adds its own."""

    node_selector: Annotated[dict[str, _Text], Field(max_length=32)] | None = None
    """Labels that nodes must carry besides those that the accelerator and the capacity ask for."""

    restart_policy: (
        Annotated[str, Field(max_length=16, json_schema_extra=rules(Rule(f"self == '{_NEVER}'", _RESTART_POLICY)))]
        | None
    ) = None
    """Never, or left out."""

    hostname: _HostName | None = None
    """Set by Holdfast: leave it out."""

    subdomain: _HostName | None = None
    """Set by Holdfast: leave it out."""

    node_name: (
        Annotated[
            str,
            Field(
                max_length=253,
                json_schema_extra=rules(
                    Rule("false", "leave nodeName out: use nodeSelector or affinity, so that workers can move")
                ),
            ),
        ]
        | None
    ) = None
    """Chosen by the scheduler: leave it out."""

    service_account_name: Annotated[str, Field(max_length=253)] | None = None
    """The identity that the pod, and with it the upload to the bucket, runs under."""

    host_network: bool | None = None
    """Whether the pod uses the node's network."""

    security_context: PodSecurityContext | None = None
    """Who the pod's containers run as where they do not say so themselves."""

    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=86400)] | None = None
    """How long the pod may take to end; with a checkpoint section it follows from checkpoint.flushTimeout."""


class TemplateMetadata(ApiModel):
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
