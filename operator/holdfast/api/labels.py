"""Every label, annotation, field manager and reserved name that Holdfast writes, in one place."""

from __future__ import annotations

from typing import Final

GROUP: Final = "holdfast.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FIELD_MANAGER: Final = "holdfast"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE: Final = "holdfast"

# On a TrainingJob with checkpoints: its deletion begins with a stop of ours.
FINALIZER: Final = f"{GROUP}/stop"

JOB_UID: Final = f"{GROUP}/job-uid"
JOB_NAME: Final = f"{GROUP}/job-name"
ATTEMPT: Final = f"{GROUP}/attempt"
ROLE: Final = f"{GROUP}/role"
SLICE: Final = f"{GROUP}/slice"
HOST: Final = f"{GROUP}/host"

# On a pod: the cadence that it was made with. On a TrainingJob: any new word asks for a checkpoint now.
EVERY_STEPS: Final = f"{GROUP}/every-steps"
CHECKPOINT_NOW: Final = f"{GROUP}/checkpoint-now"

SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"

RESERVED_PREFIX: Final = "holdfast"
TRAINER: Final = "trainer"
RESTORE_CONTAINER: Final = "holdfast-restore"
SIDECAR_CONTAINER: Final = "holdfast-sidecar"
VOLUME: Final = "holdfast-volume"
RUN_VOLUME: Final = "holdfast-run"
TOKEN_VOLUME: Final = "holdfast-token"

# Environment that Holdfast sets in the user's containers; a template that sets one of them is refused.
TRAINER_ENVIRONMENT: Final = (
    "HOLDFAST_CHECKPOINT_DIR",
    "HOLDFAST_RESTORED_STEP_FILE",
    "HOLDFAST_EVERY_STEPS",
    "HOLDFAST_ATTEMPT",
    "HOLDFAST_SOCKET",
    "HOLDFAST_SLOT",
    "HOLDFAST_LAYOUT",
)
