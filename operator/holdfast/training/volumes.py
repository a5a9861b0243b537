"""The volume of a job's checkpoints: how a pod gets it, and the claims that are made for it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from holdfast.api import labels as names
from holdfast.api import quantities
from holdfast.api.checkpoint import Checkpoint
from holdfast.api.reasons import Reason
from holdfast.api.volume import ClaimTemplate
from holdfast.planning.injection import MEMORY, REQUESTS, Storage
from holdfast.planning.slots import Slot
from holdfast.training.view import View
from holdfast.training.wait import Wait

# What the restore step needs besides what it writes: pages of a volume in memory are charged to whoever writes them.
RESTORE_ITSELF: Final = Decimal(256 * 2**20)

Fields = dict[str, Any]


def storage(view: View, checkpoint: Checkpoint, slot: Slot) -> Storage:
    """Return the volume of a slot's pod."""
    volume = checkpoint.volume
    job = view.job.metadata
    if volume.memory is not None:
        limit = volume.memory.size_limit
        needed = (quantities.parse(limit) or Decimal(0)) + RESTORE_ITSELF
        return Storage({"emptyDir": {"medium": "Memory", "sizeLimit": limit}}, "", quantities.mebibytes(needed))
    if volume.claim_template is not None:
        return Storage(_of_claim(slot.claim_name(job.name)))
    if volume.shared_claim is not None:
        return Storage(_of_claim(volume.shared_claim.claim_name), f"{job.namespace}.{job.name}")
    limit_of_disk = volume.disk.size_limit if volume.disk is not None else None
    return Storage({"emptyDir": {"sizeLimit": limit_of_disk} if limit_of_disk else {}})


def resources_of_ours(view: View) -> str:
    """Return a sentence about what Holdfast's own containers in a pod ask for; empty where there are none."""
    checkpoint = view.spec.checkpoint
    if checkpoint is None:
        return ""
    needed = storage(view, checkpoint, view.slots[0]).restore_memory
    limits = f"a memory limit of {MEMORY}" if needed == MEMORY else f"memory limits of {needed} and {MEMORY}"
    return (
        f"Holdfast's own containers, the restore step and the sidecar, ask for {REQUESTS['cpu']} of CPU and "
        f"{REQUESTS['memory']} of memory each, with {limits}."
    )


def template(view: View) -> ClaimTemplate | None:
    """Return the template of the claims that the job's slots have, None where they have none."""
    return view.spec.checkpoint.volume.claim_template if view.spec.checkpoint is not None else None


def claim(view: View, slot: Slot, wanted: ClaimTemplate, owner: Mapping[str, Any]) -> Fields:
    """Return the manifest of a slot's claim, which goes when its owner goes."""
    job = view.job.metadata
    spec = wanted.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": slot.claim_name(job.name),
            "namespace": job.namespace,
            "labels": slot.lasting_labels(job.name, view.uid),
            "ownerReferences": [dict(owner)],
        },
        "spec": spec,
    }


def too_little_memory(view: View) -> Wait | None:
    """Return why a volume in memory does not fit into its trainer, or None."""
    memory = view.spec.checkpoint.volume.memory if view.spec.checkpoint is not None else None
    if memory is None:
        return None
    trainer = next(c for c in view.spec.template.spec.containers if c.name == names.TRAINER)
    told = ((trainer.resources.limits if trainer.resources else None) or {}).get("memory", "")
    limit, size = quantities.parse(told), quantities.parse(memory.size_limit) or Decimal(0)
    if limit is not None and limit > size:
        return None
    return Wait(
        Reason.MEMORY_LIMIT_TOO_LOW,
        f"What the trainer writes to checkpoint.volume.memory counts as its own memory: its resources.limits.memory "
        f"({told or 'not set'}) must be greater than the volume's sizeLimit ({memory.size_limit}) by what the program "
        "itself needs. Raise the limit or lower sizeLimit in a new TrainingJob.",
    )


def _of_claim(name: str) -> Fields:
    return {"persistentVolumeClaim": {"claimName": name}}
