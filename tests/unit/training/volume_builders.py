"""Jobs with each kind of checkpoint volume, their claims and storage classes, and pods that wait for them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec

from holdfast.api import labels as names
from holdfast.planning.observed import Claim, Observed, Pod, ReadClaim, StorageClass
from holdfast.training.plan import plan
from tests.unit.training import builders as b

TEMPLATE: dict[str, Any] = {
    "claimTemplate": {"storageClassName": "fast", "resources": {"requests": {"storage": "20Gi"}}}
}
SHARED: dict[str, Any] = {"sharedClaim": {"claimName": "models"}}


def volume(kind: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return changes of a job's spec that give it this volume; Plain needs no Service."""
    return {"checkpoint": {"destination": "gs://bucket/run", "volume": kind}, "runtime": {"framework": "Plain"}, **more}


def claim(
    name: str, slot: int | None = None, *, phase: str = "Bound", uid: str = b.UID, node: str = "", **more: Any
) -> Claim:
    """A claim of slot `0-<slot>`, or without a slot one of the user's own."""
    meta: dict[str, Any] = {"name": name, "namespace": "team", "uid": f"claim-{name}"}
    if slot is not None:
        meta["labels"] = {names.JOB_NAME: "digits", names.SLICE: "0", names.HOST: str(slot)}
        meta["ownerReferences"] = [{"kind": "TrainingJob", "name": "digits", "uid": uid, "controller": True}]
    if node:
        meta["annotations"] = {"volume.kubernetes.io/selected-node": node}
    if more.pop("deleting", False):
        meta["deletionTimestamp"] = b.stamp(b.NOW)
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeName": "pv-1", **more}
    document = {"metadata": meta, "spec": spec, "status": {"phase": phase}}
    return msgspec.json.decode(json.dumps(document), type=Claim)


def of_slots(*slots: int, **more: Any) -> tuple[Claim, ...]:
    return tuple(claim(f"checkpoints-digits-0-{slot}", slot, **more) for slot in slots)


def storage_class(name: str, *, default: bool = False) -> dict[str, StorageClass]:
    mark = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    document = {"metadata": {"name": name, "annotations": mark}}
    return {name: msgspec.json.decode(json.dumps(document), type=StorageClass)}


def unscheduled(slot: int, message: str) -> Pod:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return b.pod(slot, node="", phase="Pending", conditions=[condition] if message else [])


def starting(kind: dict[str, Any], *the_pods: Pod, **more: Any) -> Observed:
    job = b.job(b.attempt_status(created=False, phase="Starting"), **volume(kind))
    return b.observed(job, *the_pods, **more)


def read(found: Claim | None, *, seconds_ago: float = 1.0) -> ReadClaim:
    return ReadClaim("models", found, b.NOW - timedelta(seconds=seconds_ago))


def told(seen: Observed, reason: str) -> str:
    """Return the message under which the reason goes to status once it has lasted."""
    first = plan(seen, b.NOW)
    assert first.waiting == reason, first
    lasting = replace(seen, waiting=(reason, b.NOW))
    status = b.wanted(plan(lasting, b.NOW + timedelta(seconds=11)).status)
    assert (status["reason"], b.condition(status, "Running")["reason"]) == (reason, reason)
    message: str = status["message"]
    assert b.condition(status, "Running")["message"] == message
    return message
