"""What is to be done: a plan is data, and the shell in `holdfast.cluster` carries it out in order.

The order of one pass: `absent` is confirmed first; `write_ahead` (if any) must land before anything else; then what is
asked (`dry_run`, `read`), which changes nothing; then `actions`, in order, each safe to repeat; then one status write,
if the status differs from what was observed; then the events. A plan never contains something that must happen only
once: if the process dies anywhere, the next pass makes the rest again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.api.wire import Command

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object by its place in the API: `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    def collection(self, namespace: str | None) -> str:
        """Return the path of the collection, of all namespaces where `namespace` is None."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/{self.plural}" if namespace is None else f"{root}/namespaces/{namespace}/{self.plural}"

    def item(self, namespace: str | None, name: str) -> str:
        """Return the path of one object."""
        return f"{self.collection(namespace)}/{name}"


PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NODES = Resource("", "v1", "nodes", "Node")
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
TRAINING_JOBS = Resource("holdfast.dev", "v1alpha1", "trainingjobs", "TrainingJob")


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object. One of that name that has the same controller owner and labels counts as success."""

    resource: Resource
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly the object with this UID. `grace_s` None leaves the object's own; 0 forces.

    With a `resource_version` it is deleted only as it was seen: any change since then comes first.
    """

    resource: Resource
    namespace: str
    name: str
    uid: str
    grace_s: int | None = None
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Patch:
    """Apply a JSON merge patch. A `metadata.resourceVersion` in `body` makes it fail on a conflict, which is right."""

    resource: Resource
    namespace: str
    name: str
    body: Manifest


Action = Create | Delete | Patch


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """The whole status wanted on one object. The shell writes it only where it differs from `observed`,
    with the resource version that the plan was made from."""

    resource: Resource
    namespace: str
    name: str
    resource_version: str
    observed: Manifest
    wanted: Manifest


@dataclass(frozen=True, slots=True)
class EventNote:
    """One Kubernetes Event about the object. `reason` is CamelCase and stable, `note` at most 1 kB."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str
    action: str = "Reconcile"


@dataclass(frozen=True, slots=True)
class DryRun:
    """Ask the API server whether it would accept this object; the answer comes back as an observation.

    `key` names the question (the object's generation), so that it is asked once. `form` identifies everything about the
    manifest but whose it is: an answer "yes" holds for others of the same form for a while."""

    resource: Resource
    manifest: Manifest
    key: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Absent:
    """An object of this controller that is not seen any more. A cache that is behind shows the same."""

    resource: Resource
    namespace: str
    name: str
    owner_uid: str


@dataclass(frozen=True, slots=True)
class Read:
    """Read one object that no cache holds; it comes back as an observation."""

    resource: Resource
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass for one object.

    `absent` is what the plan rests on: nothing of it is carried out unless the API server itself says that these are
    gone.
    `commands` maps pod UIDs to the orders that their sidecars have not acknowledged yet. `waiting` names what the
    object waits for; the shell remembers since when it has been the same and hands that back as `Observed.waiting`.
    `claims` are node pools that the object is about to take: they count as occupied for others until the next plan.
    `settled` says that the status which this plan writes leads to no other plan: to see it written is no reason for a
    pass.
    """

    absent: tuple[Absent, ...] = ()
    write_ahead: StatusWrite | None = None
    dry_run: DryRun | None = None
    read: Read | None = None
    actions: tuple[Action, ...] = ()
    status: StatusWrite | None = None
    commands: Mapping[str, tuple[Command, ...]] = field(default_factory=dict)
    events: tuple[EventNote, ...] = ()
    waiting: str = ""
    claims: tuple[str, ...] = ()
    settled: bool = False
    requeue_after_s: float | None = None
