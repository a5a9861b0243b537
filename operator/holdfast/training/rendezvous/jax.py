"""JAX: a coordinator on worker 0.

The port changes with the attempt, so that a survivor of an older attempt that still runs behind a partition can never
join a newer one. `JAX_ENABLE_PREEMPTION_SERVICE` is a default that a template may override: with the service on, JAX
swallows SIGTERM.
"""

from __future__ import annotations

from typing import Final

BASE_PORT: Final = 8476
_PORTS: Final = 256

DEFAULTS: Final = {"JAX_ENABLE_PREEMPTION_SERVICE": "0"}


def port(attempt: int) -> int:
    """Return the coordinator's port in one attempt."""
    return BASE_PORT + attempt % _PORTS


def environment(coordinator: str, attempt: int, processes: int, process: int) -> dict[str, str]:
    """Return what `jax.distributed.initialize` needs; it reads the address itself, the helper passes on the rest."""
    return {
        "JAX_COORDINATOR_ADDRESS": f"{coordinator}:{port(attempt)}",
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(process),
    }
