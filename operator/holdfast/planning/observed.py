"""What is observed: small projections of Kubernetes objects, and everything one plan is made from.

The structs hold only what some plan reads. Every field has a default, so that an odd object never stops a watch;
unknown fields are ignored. They are immutable and free of cycles (`gc=False`), so that tens of thousands stay cheap.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from holdfast.api import labels as names
from holdfast.api.wire import Report
from holdfast.planning.plan import Resource

# Set by the scheduler on a claim whose volume is made once its first pod has a node.
SELECTED_NODE = "volume.kubernetes.io/selected-node"


class Projection(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A part of a Kubernetes object, decoded without the rest."""


class OwnerReference(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """One owner; only the controller matters here."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """The identity of an object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def controller_uid(self) -> str:
        """Return the UID of the controlling owner, or an empty string."""
        for owner in self.owner_references:
            if owner.controller:
                return owner.uid
        return ""


class Waiting(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A container that does not run yet, and why."""

    reason: str = ""
    message: str = ""


class Running(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A container that runs."""

    started_at: datetime | None = None


class Terminated(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A container that has ended."""

    exit_code: int = 0
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """At most one of the three is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """One container as the kubelet reports it."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodCondition(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """One condition of a pod or node."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class PodSpec(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """Where a pod runs."""

    node_name: str = ""
    node_selector: dict[str, str] = {}


class PodStatus(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """How a pod is."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A pod that Holdfast made."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def attempt(self) -> int:
        """Return the attempt from the pod's label; 0 where it is missing or odd."""
        value = self.metadata.labels.get(names.ATTEMPT, "")
        return int(value) if value.isdigit() else 0

    @property
    def slot(self) -> str:
        """Return the slot's name from the pod's labels (`<slice>-<host>`)."""
        labels = self.metadata.labels
        return f"{labels.get(names.SLICE, '')}-{labels.get(names.HOST, '')}"

    @property
    def deleting(self) -> bool:
        """Say whether somebody has asked for the pod's deletion."""
        return self.metadata.deletion_timestamp is not None

    @property
    def ended(self) -> bool:
        """Say whether every container of the pod is reported terminated."""
        return self.status.phase in ("Succeeded", "Failed")

    def container(self, name: str) -> ContainerStatus | None:
        """Return the status of a container or init container by name."""
        for status in (*self.status.container_statuses, *self.status.init_container_statuses):
            if status.name == name:
                return status
        return None

    def condition(self, kind: str) -> PodCondition | None:
        """Return a condition by type."""
        return next((c for c in self.status.conditions if c.type == kind), None)


class Taint(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A taint of a node."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """What was done to a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """How a node is."""

    conditions: tuple[PodCondition, ...] = ()


class Node(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A node of the cluster."""

    metadata: Metadata = Metadata()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def out_of_service(self) -> bool:
        """Say whether an administrator has declared the node dead."""
        return any(taint.key == "node.kubernetes.io/out-of-service" for taint in self.spec.taints)

    @property
    def unready_since(self) -> datetime | None:
        """Return since when the node is not Ready; None where it is, or was never said."""
        for condition in self.status.conditions:
            if condition.type == "Ready" and condition.status != "True":
                return condition.last_transition_time
        return None


class ServiceSpec(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """What a Service selects."""

    selector: dict[str, str] = {}


class Service(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A Service that Holdfast made."""

    metadata: Metadata = Metadata()
    spec: ServiceSpec = ServiceSpec()


class ClaimSpec(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """What a claim asks for. `storage_class_name` is None where it leaves the choice to the cluster's default."""

    access_modes: tuple[str, ...] = ()
    storage_class_name: str | None = None
    volume_mode: str = "Filesystem"
    volume_name: str = ""


class ClaimStatus(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """Whether a claim has a volume: Pending, Bound or Lost."""

    phase: str = "Pending"


class Claim(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A PersistentVolumeClaim."""

    metadata: Metadata = Metadata()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()

    @property
    def slot(self) -> str:
        """Return the slot's name from the claim's labels (`<slice>-<host>`)."""
        labels = self.metadata.labels
        return f"{labels.get(names.SLICE, '')}-{labels.get(names.HOST, '')}"

    @property
    def deleting(self) -> bool:
        """Say whether somebody has asked for the claim's deletion; it stays as long as a pod on a node uses it."""
        return self.metadata.deletion_timestamp is not None

    @property
    def chosen_node(self) -> str:
        """Return the node that the volume was made for, empty where it was made for none in particular."""
        return self.metadata.annotations.get(SELECTED_NODE, "")


class StorageClass(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A storage class."""

    metadata: Metadata = Metadata()

    @property
    def default(self) -> bool:
        """Say whether claims that name no class get this one."""
        return self.metadata.annotations.get("storageclass.kubernetes.io/is-default-class") == "true"


class CustomObject(Projection, frozen=True, kw_only=True, gc=False, rename="camel"):
    """An object of one of our kinds: `spec` and `status` as they stand, read by the kind's own models."""

    metadata: Metadata = Metadata()
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Received:
    """The newest report of one pod, and when it came."""

    report: Report
    at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """A create that the API server refused (403, 422, ...); kept in memory until the next create succeeds."""

    resource: Resource
    name: str
    code: int
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """The answer to `Plan.dry_run` with the same key. `code` 0 means accepted."""

    key: str
    code: int = 0
    reason: str = ""
    message: str = ""
    at: datetime | None = None

    @property
    def accepted(self) -> bool:
        """Say whether the API server would take the object."""
        return self.code == 0


@dataclass(frozen=True, slots=True)
class ReadClaim:
    """The answer to `Plan.read` of a claim: the claim, None where there is none of that name, and when it was read."""

    name: str
    claim: Claim | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that the plan of one object is made from.

    `pods` and `claims` are those labelled with the object's namespace and name, whoever their owner is. `nodes` holds
    every node of the cluster by name, `storage_classes` every class. `waiting` is the wait that the plans since then
    have named without a break, and since when; the shell keeps it in memory. `refreshed_at` is when the shell last
    wrote the object's status, or when it started, whichever is later. `leading_since` is when this process took the
    lead: sidecars have to find it first. `occupied_pools` are the node pools in which a pod of somebody else holds
    accelerators, each with who that is: another object of Holdfast's, or a pod that Holdfast did not make. To go
    through all of them is dear in a large cluster: a plan asks about single pools, where a slice is to be placed.
    `accepted_forms` are the forms of dry runs that the API server has accepted a moment ago, for whomever. Settings are
    what the installation fixes for all objects.
    """

    namespace: str
    name: str
    settings: Settings
    object: CustomObject | None = None
    pods: tuple[Pod, ...] = ()
    service: Service | None = None
    claims: tuple[Claim, ...] = ()
    storage_classes: Mapping[str, StorageClass] = field(default_factory=dict)
    read_claim: ReadClaim | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)
    reports: Mapping[str, Received] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    dry_run: DryRunResult | None = None
    accepted_forms: Container[str] = frozenset()
    waiting: tuple[str, datetime] | None = None
    refreshed_at: datetime | None = None
    leading_since: datetime | None = None
    occupied_pools: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the installation fixes: the image of restore and sidecar, their extra environment, and where they report.

    `report_url` is empty where the report endpoint is switched off; `ca_pem` is the certificate authority's PEM.
    """

    sidecar_image: str
    sidecar_environment: Mapping[str, str] = field(default_factory=dict)
    report_url: str = ""
    ca_pem: str = ""
