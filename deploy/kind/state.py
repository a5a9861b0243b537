"""What is kept about one cluster: which engine has it, its size, its slot, and the files that belong to it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.kind.console import Problem
from deploy.kind.paths import Cache
from deploy.kind.provider import Name

# kind derives container and host names from it; with "-control-plane" it must fit a DNS label of 63 characters.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class State:
    """The folder of one cluster."""

    name: str
    folder: Path

    @classmethod
    def of(cls, name: str, cache: Cache) -> "State":
        """The state of the cluster ``name``.

        Raises:
            Problem: if the name would make bad container names.
        """
        if not _NAME.fullmatch(name):
            raise Problem(f"{name!r} is no cluster name: use 1 to 32 lower-case letters, digits and dashes")
        return cls(name, cache.clusters / name)

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the cluster's administrator."""
        return self.folder / "kubeconfig"

    @property
    def config(self) -> Path:
        """kind's configuration as rendered."""
        return self.folder / "kind.yaml"

    @property
    def shared(self) -> Path:
        """The directory that all nodes mount."""
        return self.folder / "shared"

    @property
    def loaded(self) -> Path:
        """Which archives were loaded into which nodes."""
        return self.folder / "loaded.json"

    @property
    def lock(self) -> Path:
        """Lock file: one verb at a time changes a cluster."""
        return self.folder.parent / f".{self.name}.lock"

    def known(self) -> bool:
        """Whether such a cluster was made and not taken down."""
        return (self.folder / "cluster.json").exists()

    def write(self, provider: Name, workers: int, slot: int) -> None:
        """Note what the cluster is made of."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shared.mkdir(exist_ok=True)
        self.shared.chmod(0o777)
        (self.folder / "cluster.json").write_text(
            json.dumps({"provider": provider, "workers": workers, "slot": slot}) + "\n"
        )

    def provider(self) -> Name:
        """Name of the provider that has the cluster."""
        return "docker" if self._fields()["provider"] == "docker" else "offline"

    def workers(self) -> int:
        """Number of worker nodes."""
        return int(str(self._fields()["workers"]))

    def slot(self) -> int:
        """The cluster's share of the pod networks."""
        return int(str(self._fields()["slot"]))

    def _fields(self) -> dict[str, object]:
        try:
            fields = json.loads((self.folder / "cluster.json").read_text())
        except (OSError, ValueError) as error:
            raise Problem(f"there is no cluster {self.name}: python3 -m deploy.kind up --name {self.name}") from error
        return dict(fields)


def known_clusters(cache: Cache) -> list[State]:
    """All clusters of this cache."""
    if not cache.clusters.is_dir():
        return []
    found = [State(folder.name, folder) for folder in sorted(cache.clusters.iterdir()) if folder.is_dir()]
    return [state for state in found if state.known()]


def free_slot(cache: Cache) -> int:
    """The lowest slot that no cluster has."""
    taken = {state.slot() for state in known_clusters(cache)}
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)
