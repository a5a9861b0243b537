"""The objects of one attempt: its pods, and the headless Service where the workers need names."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import msgspec

from holdfast.api import durations, wire
from holdfast.api import labels as names
from holdfast.api.checkpoint import Checkpoint
from holdfast.planning.injection import Injection, inject
from holdfast.planning.slots import Slot
from holdfast.training import rendezvous, volumes
from holdfast.training.placement import Place, anti_affinity
from holdfast.training.pools import NODE_POOL
from holdfast.training.rendezvous import jax
from holdfast.training.view import View

_ANYWHERE: Final = Place()

Fields = dict[str, Any]


def gang(view: View, attempt: int) -> rendezvous.Gang:
    """Return the gang of one attempt."""
    return rendezvous.Gang(
        job=view.job.metadata.name,
        attempt=attempt,
        slices=view.shape.slices,
        hosts_per_slice=view.shape.hosts_per_slice,
        framework=view.spec.runtime.framework,
        on_tpu=view.spec.accelerator.tpu is not None,
    )


def needs_service(view: View) -> bool:
    """Say whether the job has a headless Service."""
    return rendezvous.needs_names(
        view.spec.runtime.framework,
        on_tpu=view.spec.accelerator.tpu is not None,
        hosts_per_slice=view.shape.hosts_per_slice,
    )


def owner(view: View) -> Fields:
    """Return the owner reference of everything that is made for the job."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "TrainingJob",
        "name": view.job.metadata.name,
        "uid": view.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def order_digest(checkpoint: Checkpoint) -> str:
    """Identify `spec.checkpoint.restore`, so that the same order is served once and a changed one again."""
    document = json.dumps(checkpoint.restore.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def sidecar_config(view: View, checkpoint: Checkpoint, slot: Slot, attempt: int) -> wire.SidecarConfig:
    """Return what the slot's restore step and sidecar know."""
    created = view.job.metadata.creation_timestamp
    restore = checkpoint.restore
    return wire.SidecarConfig(
        namespace=view.job.metadata.namespace,
        job=view.job.metadata.name,
        job_uid=view.uid,
        job_created=created.strftime("%Y-%m-%dT%H:%M:%SZ") if created else "",
        attempt=attempt,
        slot=slot.name,
        parts=1 if view.shares_volume else len(view.slots),
        destination=checkpoint.destination,
        layout=checkpoint.volume.layout.value,
        format=checkpoint.format.value,
        every_steps=checkpoint.cadence.every_steps,
        keep_last=checkpoint.retention.keep_last,
        restore=wire.RestoreOrder(policy=restore.policy.value, step=restore.step, digest=order_digest(checkpoint)),
        flush_timeout_s=float(durations.seconds(checkpoint.flush_timeout)),
        report_url=view.observed.settings.report_url,
    )


def pod(view: View, slot: Slot, attempt: int, place: Place = _ANYWHERE) -> Fields:
    """Return the manifest of the slot's pod in one attempt."""
    job = view.job.metadata
    # A copy through JSON is several times cheaper than `deepcopy`, and a template is nothing but JSON.
    template = msgspec.json.decode(msgspec.json.encode(view.job.spec["template"]))
    meta = template.get("metadata") or {}
    spec: Fields = template["spec"]
    spec["restartPolicy"] = "Never"
    spec["hostname"] = slot.hostname(job.name)
    spec.setdefault("enableServiceLinks", False)
    # The workers never need the API server; a program that does says so in its template.
    spec.setdefault("automountServiceAccountToken", False)
    if needs_service(view):
        spec["subdomain"] = job.name
    _place(view, spec, slot, place)
    _meet(view, spec, slot, attempt)
    annotations = {**(meta.get("annotations") or {}), names.SAFE_TO_EVICT: "false"}
    checkpoint = view.spec.checkpoint
    if checkpoint is not None:
        annotations[names.EVERY_STEPS] = str(checkpoint.cadence.every_steps)
        config = sidecar_config(view, checkpoint, slot, attempt)
        storage = volumes.storage(view, checkpoint, slot)
        inject(spec, Injection(config, checkpoint.directory, view.observed.settings, storage))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": slot.pod_name(job.name, attempt),
            "namespace": job.namespace,
            "labels": {**(meta.get("labels") or {}), **slot.labels(job.name, view.uid, attempt)},
            "annotations": annotations,
            "ownerReferences": [owner(view)],
        },
        "spec": spec,
    }


def service(view: View, attempt: int) -> Fields:
    """Return the headless Service that names the workers of one attempt; names need no ports."""
    job = view.job.metadata
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": job.name,
            "namespace": job.namespace,
            "labels": {
                names.MANAGED_BY: names.MANAGED_BY_VALUE,
                names.JOB_NAME: job.name,
                names.JOB_UID: view.uid,
            },
            "ownerReferences": [owner(view)],
        },
        "spec": {
            "clusterIP": "None",
            # A worker looks for its peers before it is ready itself.
            "publishNotReadyAddresses": True,
            "selector": selector(view, attempt),
        },
    }


def selector(view: View, attempt: int) -> dict[str, str]:
    """Return what the Service selects: this job's pods of one attempt and no others."""
    return {names.JOB_UID: view.uid, names.ATTEMPT: str(attempt)}


def _place(view: View, spec: Fields, slot: Slot, place: Place) -> None:
    shape = view.shape
    own = spec.get("nodeSelector") or {}
    # A pool that the template names stays: it was the only one to choose from.
    chosen = {**shape.node_selector, **({NODE_POOL: own.get(NODE_POOL, place.pool)} if place.pool else {})}
    if place.leads:
        # The user's own pod affinity, if there is any, stays; two slices must never meet in one pool.
        pod_terms = spec.setdefault("affinity", {}).setdefault("podAntiAffinity", {})
        for key, terms in anti_affinity(view.uid, slot.slice).items():
            pod_terms[key] = [*(pod_terms.get(key) or []), *terms]
    if chosen:
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **chosen}
    if shape.tolerations:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *(dict(item) for item in shape.tolerations)]
    expressions: list[Fields] = [dict(item) for item in shape.node_expressions]
    if place.avoids:
        expressions.append({"key": NODE_POOL, "operator": "NotIn", "values": list(place.avoids)})
    if expressions:
        _require(spec, expressions)
    if shape.resources:
        for container in spec["containers"]:
            if container.get("name") == names.TRAINER:
                resources = container.setdefault("resources", {})
                for side in ("requests", "limits"):
                    resources[side] = {**(resources.get(side) or {}), **shape.resources}


def _require(spec: Fields, expressions: list[Fields]) -> None:
    """Add match expressions to every term of the required node affinity: terms are alternatives, so all need them."""
    affinity: Fields = spec.setdefault("affinity", {})
    required = affinity.setdefault("nodeAffinity", {}).setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or []), *expressions]} for term in terms
    ]


def _meet(view: View, spec: Fields, slot: Slot, attempt: int) -> None:
    told = rendezvous.environment(gang(view, attempt), slot)
    if not told:
        return
    for container in spec["containers"]:
        if container.get("name") == names.TRAINER:
            own = container.get("env") or []
            present = {variable.get("name") for variable in own}
            defaults = {key: value for key, value in jax.DEFAULTS.items() if key not in present}
            told_here = {**told, **(defaults if "JAX_COORDINATOR_ADDRESS" in told else {})}
            container["env"] = [*own, *({"name": key, "value": value} for key, value in told_here.items())]
