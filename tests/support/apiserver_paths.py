"""What a request is about, read from its path, and the resources that the in-memory API server knows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceInfo:
    """One resource of the server.

    `status`: it has a status subresource, which the main path cannot write. `generation`: its `metadata.generation`
    counts changes of what is asked for. `conditional`: a PUT must say which version it replaces. `custom`: its kind is
    one of ours, with a schema in `crds/`.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    generation: bool = False
    conditional: bool = False
    custom: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return the resource as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """Return the kind as messages name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


RESOURCES = (
    ResourceInfo("", "v1", "pods", "Pod", status=True, generation=True),
    ResourceInfo("", "v1", "services", "Service", status=True),
    ResourceInfo("", "v1", "nodes", "Node", namespaced=False, status=True),
    # Kopf watches nothing before it has found this one.
    ResourceInfo("", "v1", "namespaces", "Namespace", namespaced=False, status=True),
    ResourceInfo("", "v1", "secrets", "Secret"),
    ResourceInfo("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", status=True),
    ResourceInfo("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False),
    ResourceInfo("events.k8s.io", "v1", "events", "Event"),
    ResourceInfo("coordination.k8s.io", "v1", "leases", "Lease", conditional=True),
    ResourceInfo(
        "holdfast.dev",
        "v1alpha1",
        "trainingjobs",
        "TrainingJob",
        status=True,
        generation=True,
        conditional=True,
        custom=True,
    ),
)
_BY_PLACE = {(info.group, info.version, info.plural): info for info in RESOURCES}


@dataclass(frozen=True)
class Target:
    """A parsed path: `name` is None for a collection, `namespace` None for all namespaces or a cluster-wide kind."""

    info: ResourceInfo
    namespace: str | None
    name: str | None
    subresource: str


def parse_path(path: str) -> Target | None:
    """Return what the path names, None where the server has no such thing."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    info = _BY_PLACE.get((group, version, rest[0]))
    if info is None or len(rest) > 3:
        return None
    return Target(info, namespace, rest[1] if len(rest) > 1 else None, rest[2] if len(rest) > 2 else "")
