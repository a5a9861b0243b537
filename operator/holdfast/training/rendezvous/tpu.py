"""TPU slices of several hosts: what GKE's own webhook gives to pods of Jobs alone.

The names and values are those that libtpu reads on v5p and v6e (as rendered by GKE's TPU webhook for KubeRay).
"""

from __future__ import annotations


def environment(hosts: list[str], host: int) -> dict[str, str]:
    """Return the environment of one host: its number in the slice, and all hosts of the slice in that order."""
    return {"TPU_WORKER_ID": str(host), "TPU_WORKER_HOSTNAMES": ",".join(hosts)}
