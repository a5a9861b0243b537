"""Addresses of an engine and its clusters, chosen so that they meet nothing on the machine.

Every engine (one a user and machine) gets a slot; its three networks follow from the slot:

* the link between the host and the engine's network namespace, a /30 of 10.97.0.0/16;
* kind's node network, a /24 of 172.30.0.0/16;
* pods, a /16 of 10.16.0.0 to 10.79.0.0, of which each cluster gets a /20 (16 nodes with a /24 each).
"""

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from deploy.kind.console import Problem
from deploy.kind.process import run

_SLOTS = 64
_CLUSTERS = 16


@dataclass(frozen=True)
class Addresses:
    """The networks of the engine in one slot."""

    slot: int

    @property
    def host(self) -> str:
        """The host's end of the link."""
        return f"10.97.{self.slot}.1"

    @property
    def engine(self) -> str:
        """The engine's end of the link; API servers are published there."""
        return f"10.97.{self.slot}.2"

    @property
    def link(self) -> str:
        """The link's network."""
        return f"10.97.{self.slot}.0/30"

    @property
    def nodes(self) -> str:
        """kind's node network."""
        return f"172.30.{self.slot}.0/24"

    @property
    def pods(self) -> str:
        """All pods of all clusters of this engine."""
        return f"10.{16 + self.slot}.0.0/16"


def pod_subnet(engine_slot: int, cluster_slot: int) -> str:
    """Pods of one cluster.

    Raises:
        Problem: if there are too many clusters.
    """
    if not 0 <= cluster_slot < _CLUSTERS:
        raise Problem(f"at most {_CLUSTERS} clusters at once: take one down first (deploy.kind down --name N)")
    return f"10.{16 + engine_slot}.{16 * cluster_slot}.0/20"


def choose(preferred: int, taken: list[str]) -> Addresses:
    """The first slot from ``preferred`` on whose networks overlap none of ``taken``.

    Raises:
        Problem: if every slot meets something.
    """
    busy = [ipaddress.ip_network(one, strict=False) for one in taken]
    for step in range(_SLOTS):
        candidate = Addresses((preferred + step) % _SLOTS)
        own = [ipaddress.ip_network(one) for one in (candidate.link, candidate.nodes, candidate.pods)]
        if not any(mine.overlaps(other) for mine in own for other in busy if mine.version == other.version):
            return candidate
    raise Problem("the machine's routes leave no free networks in 10.97.0.0/16, 172.30.0.0/16 and 10.16.0.0/12")


def routes() -> list[str]:
    """Destinations of the machine's IPv4 routes but for the default one."""
    listed = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"], timeout_s=10) or "[]")
    return [str(one["dst"]) for one in listed if one.get("dst") not in (None, "default")]


def load(path: Path) -> Addresses | None:
    """The slot kept in ``path``, if there is one."""
    try:
        return Addresses(int(path.read_text()))
    except (OSError, ValueError):
        return None
