"""The kinds of checkpoint volume: what a pod gets, how much memory it needs, and when a job has succeeded on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api import quantities
from holdfast.api.wire import Outcome
from holdfast.planning.slots import Slot
from holdfast.training import pods
from holdfast.training.plan import plan
from holdfast.training.view import look
from tests.unit.training import builders as b
from tests.unit.training.volume_builders import SHARED, TEMPLATE, volume


def memory(size: str, limit: str | int | None) -> dict[str, Any]:
    trainer: dict[str, Any] = {"name": "trainer", "image": "t"}
    if limit is not None:
        trainer["resources"] = {"limits": {"memory": limit}}
    spec = {"securityContext": {"runAsUser": 1000}, "containers": [trainer]}
    return volume({"memory": {"sizeLimit": size}}, template={"spec": spec})


def rendered(kind: dict[str, Any] | None = None, slot: Slot = Slot(0, 1), **spec: Any) -> dict[str, Any]:  # noqa: B008 - frozen
    seen = b.observed(b.job(b.attempt_status(), **(spec or volume(kind or {}))))
    assert seen.object is not None
    manifest: dict[str, Any] = pods.pod(look(seen, seen.object, b.NOW), slot, 3)["spec"]
    return manifest


def mount_of(container: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in container["volumeMounts"] if item["name"] == "holdfast-volume")


def test_a_disk_is_an_empty_directory() -> None:
    spec = rendered({"disk": {"sizeLimit": "20Gi"}})
    assert {"name": "holdfast-volume", "emptyDir": {"sizeLimit": "20Gi"}} in spec["volumes"]
    assert {"name": "holdfast-volume", "emptyDir": {}} in rendered({"disk": {}})["volumes"]


def test_memory_is_charged_to_whoever_writes_it() -> None:
    spec = rendered(**memory("8Gi", "24Gi"))
    assert {"name": "holdfast-volume", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}} in spec["volumes"]
    restore, sidecar = spec["initContainers"]
    assert restore["resources"]["limits"]["memory"] == f"{8 * 1024 + 256}Mi"
    assert sidecar["resources"]["limits"]["memory"] == "512Mi", (
        "it only links, and reads pages that are charged already"
    )


@given(st.integers(1, 10**6), st.sampled_from(["Ki", "Mi", "Gi", "k", "M", "G", ""]))
def test_restore_always_has_room_for_all_that_the_volume_may_hold(number: int, unit: str) -> None:
    limit = rendered(**memory(f"{number}{unit}", "1Pi"))["initContainers"][0]["resources"]["limits"]["memory"]
    room, size = quantities.parse(limit), quantities.parse(f"{number}{unit}")
    assert room is not None
    assert size is not None
    assert 256 * 2**20 <= room - size < 257 * 2**20


def test_a_slot_keeps_its_claim_over_attempts() -> None:
    spec = rendered(TEMPLATE)
    wanted = {"name": "holdfast-volume", "persistentVolumeClaim": {"claimName": "checkpoints-digits-0-1"}}
    assert wanted in spec["volumes"]
    restore, sidecar = spec["initContainers"]
    assert mount_of(restore) == mount_of(sidecar) == {"name": "holdfast-volume", "mountPath": "/holdfast/volume"}
    assert mount_of(spec["containers"][0])["subPath"] == "data/3"
    config = json.loads(next(item["value"] for item in restore["env"] if item["name"] == "HOLDFAST_CONFIG"))
    assert (config.get("layout", "PerHost"), config["parts"]) == ("PerHost", 2)


def test_of_a_shared_claim_only_the_jobs_directory_is_mounted_and_it_has_one_part() -> None:
    spec = rendered(SHARED)
    assert {"name": "holdfast-volume", "persistentVolumeClaim": {"claimName": "models"}} in spec["volumes"]
    restore, sidecar = spec["initContainers"]
    trainer = spec["containers"][0]
    assert mount_of(restore)["subPath"] == mount_of(sidecar)["subPath"] == "team.digits"
    assert mount_of(trainer)["subPath"] == "team.digits/data/3"
    config = json.loads(next(item["value"] for item in restore["env"] if item["name"] == "HOLDFAST_CONFIG"))
    assert (config["layout"], config["parts"], config["slot"]) == ("Shared", 1, "0-1")
    assert {"name": "HOLDFAST_LAYOUT", "value": "Shared"} in trainer["env"]


# A volume in memory.


@pytest.mark.parametrize(
    ("size", "limit"), [("8Gi", "8Gi"), ("8Gi", "8G"), ("1Gi", None), ("1Gi", 1024), ("1Gi", "lots"), ("1Gi", "1e9")]
)
def test_a_trainer_without_room_beside_its_volume_is_refused(size: str, limit: str | int | None) -> None:
    result = plan(b.observed(b.job(**memory(size, limit)), dry_run=b.accepted()), b.NOW)
    accepted = b.condition(b.wanted(result.status), "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "MemoryLimitTooLow")
    assert f"greater than the volume's sizeLimit ({size})" in accepted["message"]
    assert (result.actions, result.write_ahead, result.dry_run) == ((), None, None)


@pytest.mark.parametrize("limit", ["9Gi", "8193Mi", "1e10", 10**10])
def test_a_trainer_with_room_is_taken(limit: str | int) -> None:
    result = plan(b.observed(b.job(**memory("8Gi", limit)), dry_run=b.accepted(), service=b.service()), b.NOW)
    assert b.created(result) == ["digits-0-0-1", "digits-0-1-1"]


# Success on a shared volume.


def words(complete: int | None, committed: int | None) -> Outcome:
    return Outcome(kind="Finished", last_complete=complete, part_written=committed, committed=committed)


@pytest.mark.parametrize(
    ("first", "second", "phase"),
    [
        (words(300, 300), words(300, None), "Succeeded"),
        (words(300, 300), words(None, None), "Succeeded"),
        (words(300, 300), None, "Succeeded"),
        (words(None, None), words(None, None), "Succeeded"),
        (words(300, 200), words(300, None), "Restarting"),
        (words(200, 200), words(300, None), "Restarting"),
        (None, words(300, 300), "Restarting"),
    ],
)
def test_the_first_slots_word_alone_says_what_is_committed(
    first: Outcome | None, second: Outcome | None, phase: str
) -> None:
    job = b.job(b.attempt_status(), **volume(SHARED))
    result = plan(b.observed(job, b.succeeded(0, first), b.succeeded(1, second)), b.NOW)
    status = b.wanted(result.status or result.write_ahead)
    assert status["phase"] == phase
    if phase == "Restarting":
        assert status["attempts"][0]["cause"] == "FinalCheckpointNotCommitted"
