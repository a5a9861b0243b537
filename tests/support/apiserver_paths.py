"""What a request is about, read from its path, and the resources that the in-memory API server knows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceInfo:
    """One resource of the server. `status`: it has a status subresource, which the main path cannot write."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


RESOURCES = (
    ResourceInfo("", "v1", "pods", "Pod", status=True),
    ResourceInfo("", "v1", "services", "Service", status=True),
    ResourceInfo("", "v1", "nodes", "Node", namespaced=False, status=True),
    ResourceInfo("", "v1", "secrets", "Secret"),
    ResourceInfo("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", status=True),
    ResourceInfo("events.k8s.io", "v1", "events", "Event"),
    ResourceInfo("coordination.k8s.io", "v1", "leases", "Lease"),
    ResourceInfo("holdfast.dev", "v1alpha1", "trainingjobs", "TrainingJob", status=True),
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


def selects(selector: str, labels: dict[str, str]) -> bool:
    """Say whether a label selector made of `key`, `!key`, `key=value` and `key!=value` matches."""
    for term in filter(None, (part.strip() for part in selector.split(","))):
        if "!=" in term:
            key, value = term.split("!=", 1)
            matched = labels.get(key) != value
        elif "=" in term:
            key, value = term.replace("==", "=").split("=", 1)
            matched = labels.get(key) == value
        elif term.startswith("!"):
            matched = term[1:] not in labels
        else:
            matched = term in labels
        if not matched:
            return False
    return True
