"""`spec.capacity` and `spec.runtime`: how nodes are paid for, and how workers find each other."""

from __future__ import annotations

from enum import StrEnum

from holdfast.api.model import ApiModel


class CapacityMode(StrEnum):
    """How the nodes are paid for."""

    ON_DEMAND = "OnDemand"
    SPOT = "Spot"


class Framework(StrEnum):
    """Whose rendezvous the workers get."""

    JAX = "JAX"
    PLAIN = "Plain"


class Capacity(ApiModel):
    """How the nodes are paid for."""

    mode: CapacityMode = CapacityMode.ON_DEMAND
    """OnDemand keeps off Spot nodes. Spot uses Spot nodes alone: cheaper, and taken away with 30 seconds of warning."""


class Runtime(ApiModel):
    """How the workers find each other."""

    framework: Framework = Framework.PLAIN
    """JAX gives every worker JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. Plain adds nothing."""
