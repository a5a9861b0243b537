"""The types of a TrainingJob's conditions.

All have positive polarity except `Failed` and `Suspended`, which are states of their own. `status.phase` is derived
from them and never the other way round.
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Which aspect of a job's state a condition is about."""

    ACCEPTED = "Accepted"
    """The spec can be carried out: it was read, and the API server takes a pod of it."""

    RUNNING = "Running"
    """All trainers of the current attempt run. False says what is waited for."""

    CHECKPOINT_STORE_READY = "CheckpointStoreReady"
    """Restore and sidecar can use the bucket."""

    CHECKPOINT_HEALTHY = "CheckpointHealthy"
    """The trainer's checkpoints complete and look as they should."""

    RESTORED = "Restored"
    """The current attempt's gang has agreed on where to start. False says what stands in the way."""

    SIDECAR_IDENTITY = "SidecarIdentity"
    """Restore and sidecar run as the trainer's user. False says that they run as root."""

    SUSPENDED = "Suspended"
    """`spec.suspend` is true and no pod is left."""

    SUCCEEDED = "Succeeded"
    """All trainers ended with exit code 0 and the last complete step is committed. Terminal."""

    FAILED = "Failed"
    """The job has ended and will not be tried again. Terminal."""
