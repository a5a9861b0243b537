"""TPU slices of several hosts: what GKE's own webhook gives to pods of Jobs and JobSets alone.

The names and values are those that libtpu reads on v5p and v6e (as rendered by GKE's TPU webhook for KubeRay), and the
coordinator of several slices is host 0 of slice 0, by its plain name, as JobSet has it.

The port of the slices' coordinator changes with the attempt, like JAX's, from 8080 on, which public renderers open.
What is known: libtpu reads `MEGASCALE_PORT` (KubeRay's webhook and Ray set 8081), and JAX takes the host alone from
`MEGASCALE_COORDINATOR_ADDRESS`. libtpu's source is closed, so whether every connection between slices follows that
port is not known: JAX's own coordinator and the bucket's fence keep a survivor of an older attempt out as well. The
ranges of the two coordinators do not meet, nor do they hold a port of libtpu's own (8353, 8431 and up, 8471).
"""

from __future__ import annotations

from typing import Final

MEGASCALE_BASE_PORT: Final = 8080
_PORTS: Final = 256


def environment(hosts: list[str], host: int) -> dict[str, str]:
    """Return the environment of one host: its number in the slice, and all hosts of the slice in that order."""
    return {"TPU_WORKER_ID": str(host), "TPU_WORKER_HOSTNAMES": ",".join(hosts)}


def megascale_port(attempt: int) -> int:
    """Return the port of the slices' coordinator in one attempt."""
    return MEGASCALE_BASE_PORT + attempt % _PORTS


def multislice(coordinator: str, attempt: int, slices: int, number: int) -> dict[str, str]:
    """Return what joins `slices` slices, for a host of slice `number`."""
    return {
        "MEGASCALE_COORDINATOR_ADDRESS": coordinator,
        "MEGASCALE_PORT": str(megascale_port(attempt)),
        "MEGASCALE_NUM_SLICES": str(slices),
        "MEGASCALE_SLICE_ID": str(number),
    }
