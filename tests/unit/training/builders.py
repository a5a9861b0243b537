"""Small builders: a job, its pods at a given point of their life, nodes and reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from holdfast.api import labels as names
from holdfast.api.wire import Outcome, Report, encode
from holdfast.planning.observed import CustomObject, DryRunResult, Node, Observed, Pod, Received, Service, Settings
from holdfast.planning.plan import Create, Plan, StatusWrite

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UID = "0a1b2c3d-0000-0000-0000-000000000001"
SETTINGS = Settings(
    sidecar_image="holdfast:test",
    sidecar_environment={"STORAGE_EMULATOR_HOST": "http://bucket:4443"},
    report_url="https://holdfast.holdfast-system.svc:8443",
    ca_pem="PEM",
)


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def spec(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "accelerator": {"cpu": {"workers": 2}},
        "runtime": {"framework": "JAX"},
        "template": {
            "spec": {
                "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
                "containers": [{"name": "trainer", "image": "trainer:1"}],
            }
        },
        "checkpoint": {"destination": "gs://bucket/run"},
    }
    return {**base, **changes}


def job(status: Mapping[str, Any] | None = None, *, uid: str = UID, **changes: Any) -> CustomObject:
    """A job; `finalizers` and `deleted` are of its metadata, other keywords change its spec."""
    finalizers, deleted = changes.pop("finalizers", [names.FINALIZER]), changes.pop("deleted", None)
    document = {
        "metadata": {
            "name": "digits",
            "namespace": "team",
            "uid": uid,
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": stamp(NOW - timedelta(hours=1)),
            "finalizers": finalizers,
            **({"deletionTimestamp": stamp(deleted)} if deleted else {}),
        },
        "spec": spec(**changes),
        "status": dict(status or {}),
    }
    return msgspec.json.decode(json.dumps(document), type=CustomObject)


def pod(slot: int, attempt: int = 1, *, uid: str = UID, node: str = "n1", **status: Any) -> Pod:
    """A pod of slot `0-<slot>`; keyword arguments are the pod's status, `created`, `deleting`, `grace` excepted."""
    created, deleting, grace = status.pop("created", None), status.pop("deleting", None), status.pop("grace", None)
    meta: dict[str, Any] = {
        "name": f"digits-0-{slot}-{attempt}",
        "namespace": "team",
        "uid": f"pod-{slot}-{attempt}-{uid[-1]}",
        "labels": {
            names.MANAGED_BY: names.MANAGED_BY_VALUE,
            names.JOB_NAME: "digits",
            names.JOB_UID: uid,
            names.ATTEMPT: str(attempt),
            names.SLICE: "0",
            names.HOST: str(slot),
        },
        "ownerReferences": [{"kind": "TrainingJob", "name": "digits", "uid": uid, "controller": True}],
    }
    if created is not None:
        meta |= {"creationTimestamp": stamp(created)}
    if deleting is not None:
        meta |= {"deletionTimestamp": stamp(deleting), "deletionGracePeriodSeconds": grace}
    document = {"metadata": meta, "spec": {"nodeName": node}, "status": status}
    return msgspec.json.decode(json.dumps(document), type=Pod)


def container(name: str, **state: Any) -> dict[str, Any]:
    return {"name": name, "state": state}


def running(slot: int, attempt: int = 1, **more: Any) -> Pod:
    status: dict[str, Any] = {
        "phase": "Running",
        "containerStatuses": [container("trainer", running={"startedAt": stamp(NOW)})],
        "initContainerStatuses": [
            container(names.RESTORE_CONTAINER, terminated={"exitCode": 0}),
            container(names.SIDECAR_CONTAINER, running={"startedAt": stamp(NOW)}),
        ],
    }
    return pod(slot, attempt, **{**status, **more})


def failed(
    slot: int, attempt: int = 1, code: int = 1, *, at: datetime = NOW, reason: str = "Error", **more: Any
) -> Pod:
    ended = {"exitCode": code, "finishedAt": stamp(at), "reason": reason}
    return pod(slot, attempt, phase="Failed", containerStatuses=[container("trainer", terminated=ended)], **more)


def restore_failed(slot: int, outcome: Outcome, code: int, attempt: int = 1) -> Pod:
    ended = {"exitCode": code, "message": encode(outcome).decode()}
    return pod(
        slot, attempt, phase="Failed", initContainerStatuses=[container(names.RESTORE_CONTAINER, terminated=ended)]
    )


def succeeded(slot: int, outcome: Outcome | None, attempt: int = 1) -> Pod:
    message = encode(outcome).decode() if outcome else ""
    return pod(
        slot,
        attempt,
        phase="Succeeded",
        containerStatuses=[container("trainer", terminated={"exitCode": 0})],
        initContainerStatuses=[container(names.SIDECAR_CONTAINER, terminated={"exitCode": 0, "message": message})],
    )


def node(name: str = "n1", *, unready_since: datetime | None = None, labels: dict[str, str] | None = None) -> Node:
    condition: dict[str, Any] = {"type": "Ready", "status": "True"}
    if unready_since:
        condition = {"type": "Ready", "status": "Unknown", "lastTransitionTime": stamp(unready_since)}
    document = {"metadata": {"name": name, "labels": labels or {}}, "status": {"conditions": [condition]}}
    return msgspec.json.decode(json.dumps(document), type=Node)


def report(of: Pod, **fields: Any) -> Received:
    base: dict[str, Any] = {
        "role": "Sidecar",
        "namespace": "team",
        "job": "digits",
        "job_uid": UID,
        "attempt": of.attempt,
        "slot": of.slot,
        "pod_name": of.metadata.name,
        "pod_uid": of.metadata.uid,
        "sequence": 1,
        "phase": "Watching",
    }
    at = fields.pop("at", NOW)
    return Received(Report(**{**base, **fields}), at)


def observed(the_job: CustomObject | None, *pods: Pod, reports: tuple[Received, ...] = (), **more: Any) -> Observed:
    nodes = more.pop("nodes", {"n1": node("n1"), "n2": node("n2")})
    base: dict[str, Any] = {"refreshed_at": NOW}
    return Observed(
        namespace="team",
        name="digits",
        settings=SETTINGS,
        object=the_job,
        pods=pods,
        nodes=nodes,
        reports={item.report.pod_uid: item for item in reports},
        **{**base, **more},
    )


def accepted(generation: int = 1) -> DryRunResult:
    return DryRunResult(f"{UID}/{generation}")


def service(attempt: int = 1, uid: str = UID, managed: bool = True) -> Service:
    labels = {names.MANAGED_BY: names.MANAGED_BY_VALUE} if managed else {}
    owners = [{"kind": "TrainingJob", "name": "digits", "uid": uid, "controller": True}] if managed else []
    document = {
        "metadata": {
            "name": "digits",
            "namespace": "team",
            "resourceVersion": "3",
            "labels": labels,
            "ownerReferences": owners,
        },
        "spec": {"selector": {names.JOB_UID: uid, names.ATTEMPT: str(attempt)}},
    }
    return msgspec.json.decode(json.dumps(document), type=Service)


def attempt_status(attempt: int = 1, *, created: bool = True, phase: str = "Running", **more: Any) -> dict[str, Any]:
    """The status of a job in the middle of an attempt, earlier attempts closed."""
    rows: list[dict[str, Any]] = [
        {"attempt": n, "startedAt": stamp(NOW), "endedAt": stamp(NOW), "cause": "WorkerFailed"}
        for n in range(1, attempt)
    ]
    rows.append({"attempt": attempt, "startedAt": stamp(NOW)})
    base = {
        "conditions": [],
        "observedGeneration": 1,
        "phase": phase,
        "attempt": attempt,
        "attempts": rows,
        "workers": {"desired": 2, "created": 2 if created else 0, "running": 2 if created else 0, "succeeded": 0},
    }
    return {**base, **more}


def wanted(write: StatusWrite | None) -> dict[str, Any]:
    assert write is not None
    return dict(write.wanted)


def condition(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return next((dict(c) for c in status.get("conditions", []) if c["type"] == kind), {})


def created_specs(plan: Plan) -> list[dict[str, Any]]:
    return [action.manifest["spec"] for action in plan.actions if isinstance(action, Create)]


def created(plan: Plan) -> list[str]:
    return [action.manifest["metadata"]["name"] for action in plan.actions if isinstance(action, Create)]
