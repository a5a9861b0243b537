"""The status that the models build is what the API server takes, and what `kubectl get` shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.client import ApiException, CustomObjectsApi

from holdfast.api.conditions import ConditionType
from holdfast.api.crd import TRAINING_JOB_COLUMNS
from holdfast.api.reasons import Reason
from holdfast.api.status import (
    AttemptRow,
    CheckpointStatus,
    CommittedCheckpoint,
    Condition,
    Phase,
    Progress,
    SlicePool,
    TrainingJobStatus,
    WorkerCounts,
)
from tests.e2e.admission.manifests import GROUP, PLURAL, VERSION, Fields

NOW = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
COMMIT = CommittedCheckpoint(
    step=300, run=2, committed_at=NOW, bytes=1 << 40, manifest="gs://bucket/prefix/commit.json"
)
FULL = TrainingJobStatus(
    conditions=tuple(
        Condition(
            type=kind.value, status="False", observed_generation=1, last_transition_time=NOW, reason=reason, message="m"
        )
        for kind, reason in zip(ConditionType, Reason, strict=False)
    ),
    observed_generation=1,
    phase=Phase.RUNNING,
    reason=Reason.RUNNING,
    message="m" * 5000,
    attempt=3,
    restarts=2,
    restart_times=(NOW, NOW),
    workers=WorkerCounts(desired=2, created=2, running=1, succeeded=1),
    progress=Progress(step=342, total=1000, loss="0.25", steps_per_second="12.5"),
    checkpoint=CheckpointStatus(latest=COMMIT, restored_step=0, commits=(COMMIT,)),
    attempts=(
        AttemptRow(
            attempt=3,
            started_at=NOW,
            ended_at=NOW,
            cause=Reason.WORKER_FAILED,
            message="m" * 5000,
            exit_code=-1,
            slot="0-1",
            nodes=("node-1",),
            restored_step=200,
        ),
    ),
    node_pools=(SlicePool(slice=0, node_pool="tpu-a"),),
    next_retry_at=NOW,
    active_seconds=86400,
)


def _write(custom_objects: CustomObjectsApi, namespace: str, name: str, status: Fields) -> Any:
    return custom_objects.patch_namespaced_custom_object_status(
        GROUP, VERSION, namespace, PLURAL, name, {"status": status}, dry_run="All", field_validation="Strict"
    )


def test_a_full_status_is_taken_as_it_is(custom_objects: CustomObjectsApi, namespace: str, settled: str) -> None:
    stored = _write(custom_objects, namespace, settled, FULL.dump())["status"]
    assert stored == FULL.dump()
    assert TrainingJobStatus.model_validate(stored) == FULL


def test_columns_show_it(custom_objects: CustomObjectsApi, namespace: str, settled: str) -> None:
    client = custom_objects.api_client
    # Asked for in the answer to a dry run, before an operator that watches the cluster can write a status of its own.
    request = client.param_serialize(
        "PATCH",
        f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{settled}/status",
        query_params=[("dryRun", "All")],
        header_params={
            "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io",
            "Content-Type": "application/merge-patch+json",
        },
        body={"status": FULL.dump()},
        auth_settings=["BearerToken"],
    )
    table = json.loads(client.call_api(*request).read())
    shown = dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    assert [name for name in shown if name != "Name"] == [column["name"] for column in TRAINING_JOB_COLUMNS]
    assert shown["Phase"] == "Running"
    assert shown["Step"] == 342
    assert shown["Checkpoint"] == 300
    assert shown["Attempt"] == 3
    assert shown["Workers"] == 1
    assert shown["Reason"] == "Running"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"phase": "Lost"}, "Unsupported value"),
        ({"reason": "two words"}, "should match"),
        ({"attempts": [{"attempt": 1, "startedAt": "yesterday"}]}, "must be of type date-time"),
        ({"conditions": [{"type": "Running", "status": "Yes"}]}, "Unsupported value"),
        ({"progress": {"loss": 0.5}}, "must be of type string"),
        ({"step": 1}, 'unknown field "status.step"'),
    ],
)
def test_what_is_no_status_is_refused(
    status: Fields, message: str, custom_objects: CustomObjectsApi, namespace: str, settled: str
) -> None:
    with pytest.raises(ApiException) as caught:
        _write(custom_objects, namespace, settled, status)
    assert message in json.loads(str(caught.value.body))["message"]
