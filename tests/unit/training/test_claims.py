"""Claims: which are made and when, whether a shared one will do, and what is told when one cannot be had."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.api import labels as names
from holdfast.planning.observed import Claim, Observed, ReadClaim, Refusal
from holdfast.planning.plan import CLAIMS, Create, Plan, Read
from holdfast.training.plan import plan
from tests.unit.training import builders as b
from tests.unit.training.volume_builders import (
    SHARED,
    TEMPLATE,
    claim,
    of_slots,
    read,
    starting,
    storage_class,
    told,
    unscheduled,
    volume,
)


def manifests(result: Plan) -> list[dict[str, Any]]:
    return [dict(action.manifest) for action in result.actions if isinstance(action, Create)]


def test_claims_come_first_and_pods_once_they_are_there() -> None:
    first = manifests(plan(starting(TEMPLATE), b.NOW))
    assert [(one["kind"], one["metadata"]["name"]) for one in first] == [
        ("PersistentVolumeClaim", "checkpoints-digits-0-0"),
        ("PersistentVolumeClaim", "checkpoints-digits-0-1"),
    ]
    assert first[1]["spec"] == {
        "storageClassName": "fast",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
    }
    meta = first[1]["metadata"]
    assert (meta["ownerReferences"][0]["uid"], meta["ownerReferences"][0]["controller"]) == (b.UID, True)
    assert meta["labels"][names.MANAGED_BY] == "holdfast", "the watch finds it by this label"
    assert (meta["labels"][names.JOB_NAME], meta["labels"][names.HOST]) == ("digits", "1")
    assert names.ATTEMPT not in meta["labels"]
    assert b.created(plan(starting(TEMPLATE, claims=of_slots(0)), b.NOW)) == ["checkpoints-digits-0-1"]
    pending = of_slots(0, 1, phase="Pending")
    assert b.created(plan(starting(TEMPLATE, claims=pending), b.NOW)) == ["digits-0-0-1", "digits-0-1-1"]


def test_the_next_attempt_uses_the_same_claims() -> None:
    job = b.job(b.attempt_status(2, created=False, phase="Restarting"), **volume(TEMPLATE))
    assert b.created(plan(b.observed(job, claims=of_slots(0, 1)), b.NOW)) == ["digits-0-0-2", "digits-0-1-2"]


def test_a_running_gang_with_claims_is_left_alone() -> None:
    job = b.job(b.attempt_status(), **volume(TEMPLATE))
    result = plan(b.observed(job, b.running(0), b.running(1), claims=of_slots(0)), b.NOW)
    assert result.actions == ()


@pytest.mark.parametrize("kind", [{"disk": {}}, SHARED])
def test_other_volumes_cost_no_claim(kind: dict[str, Any]) -> None:
    assert b.created(plan(starting(kind), b.NOW)) == ["digits-0-0-1", "digits-0-1-1"]


def test_claims_of_a_former_job_are_waited_for() -> None:
    former = of_slots(0, 1, uid="former")
    assert "Claims of a former job" in told(starting(TEMPLATE, claims=former), "PreviousJobTerminating")
    assert plan(starting(TEMPLATE, claims=former), b.NOW).actions == ()
    orphans = of_slots(0, uid="")
    assert "Nobody owns checkpoints-digits-0-0, so delete it" in told(
        starting(TEMPLATE, claims=orphans), "PreviousJobTerminating"
    )
    # They are nothing to a job that has none.
    assert b.created(plan(starting({"disk": {}}, claims=former), b.NOW)) == ["digits-0-0-1", "digits-0-1-1"]


def test_a_claim_that_is_being_deleted_is_waited_for_and_made_anew() -> None:
    leaving = (*of_slots(0), *of_slots(1, deleting=True))
    assert "checkpoints-digits-0-1 is being deleted" in told(starting(TEMPLATE, claims=leaving), "ClaimTerminating")
    # A pod that has no node does not keep its claim: the claim goes, and comes back under the waiting pod.
    waiting = (b.pod(0, phase="Pending"), unscheduled(1, 'persistentvolumeclaim "checkpoints-digits-0-1" not found'))
    assert b.created(plan(starting(TEMPLATE, *waiting, claims=of_slots(0)), b.NOW)) == ["checkpoints-digits-0-1"]


def test_a_claim_that_is_refused_keeps_pods_from_being_made() -> None:
    no = Refusal(CLAIMS, "checkpoints-digits-0-0", 403, "Forbidden", "exceeded quota: storage", b.NOW)
    seen = starting(TEMPLATE, refusals=(no,))
    assert "does not allow the claim" in told(seen, "QuotaExceeded")
    assert {one["kind"] for one in manifests(plan(seen, b.NOW + timedelta(seconds=11)))} == {"PersistentVolumeClaim"}


# What is told while a pod waits for its claim.

UNBOUND = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
ELSEWHERE = (
    "0/3 nodes are available: 1 node(s) had untolerated taint, 2 node(s) didn't match PersistentVolume's node affinity."
)
OLDER_WORDS = "0/3 nodes are available: 3 node(s) had volume node affinity conflict."


@pytest.mark.parametrize(
    ("the_claim", "scheduler", "reason", "words"),
    [
        ({"phase": "Pending"}, UNBOUND, "ClaimPending", "checkpoints-digits-0-1 has no volume yet"),
        ({"phase": "Pending"}, "", "ClaimPending", "See the claim's events"),
        ({"phase": "Pending"}, "0/3 nodes are available: 3 Insufficient cpu.", "Unschedulable", "Insufficient cpu"),
        (
            {"phase": "Pending", "storageClassName": "fats"},
            UNBOUND,
            "StorageClassNotFound",
            "fats, which does not exist",
        ),
        ({"phase": "Pending", "storageClassName": None}, UNBOUND, "StorageClassNotFound", "has no default one"),
        ({"phase": "Pending", "storageClassName": ""}, UNBOUND, "ClaimPending", "has no volume yet"),
        ({"phase": "Lost"}, "", "ClaimLost", "has lost its volume pv-1: delete the claim. Holdfast makes a new one"),
        ({"node": "away"}, ELSEWHERE, "VolumeOutOfReach", "only on node away or in its zone, and that node is gone"),
        ({"node": "away"}, OLDER_WORDS, "VolumeOutOfReach", "delete pvc checkpoints-digits-0-1"),
        ({"node": "n2"}, ELSEWHERE, "VolumeOutOfReach", "node n2 or in its zone, and that node has no room"),
        ({}, ELSEWHERE, "VolumeOutOfReach", "only on other nodes than those that are free"),
        ({}, "0/3 nodes are available: 3 Insufficient cpu.", "Unschedulable", "Insufficient cpu"),
    ],
)
def test_every_trouble_of_a_claim_has_its_reason(
    the_claim: dict[str, Any], scheduler: str, reason: str, words: str
) -> None:
    claims = (*of_slots(0), *of_slots(1, **the_claim))
    seen = starting(
        TEMPLATE,
        b.pod(0, phase="Pending"),
        unscheduled(1, scheduler),
        claims=claims,
        storage_classes=storage_class("fast"),
    )
    assert words in told(seen, reason)


def test_a_volume_that_is_on_its_way_is_named() -> None:
    seen = starting(TEMPLATE, b.pod(0, phase="Pending"), b.pod(1, phase="Pending"), claims=of_slots(0, 1))
    assert "claim checkpoints-digits-0-0) may still be on its way to n1" in told(seen, "AwaitingPods")


def test_a_default_class_serves_a_claim_without_one() -> None:
    claims = of_slots(0, 1, phase="Pending", storageClassName=None)
    pods_there = (unscheduled(0, UNBOUND), unscheduled(1, UNBOUND))
    seen = starting(TEMPLATE, *pods_there, claims=claims, storage_classes=storage_class("usual", default=True))
    assert plan(seen, b.NOW).waiting == "ClaimPending"


# A shared claim.


def fresh(kind: dict[str, Any] | None = None, *, workers: int = 2, **more: Any) -> Observed:
    spec = volume(kind or SHARED, accelerator={"cpu": {"workers": workers}})
    return b.observed(b.job(**spec), dry_run=b.accepted(), **more)


def many(**more: Any) -> Claim:
    return claim("models", **{"accessModes": ["ReadWriteMany"], **more})


def test_a_shared_claim_is_read_before_anything_is_made() -> None:
    asked = plan(fresh(), b.NOW)
    assert asked == Plan(read=Read(CLAIMS, "team", "models"))
    assert plan(fresh(read_claim=read(many(), seconds_ago=31)), b.NOW).read is not None, "an old answer is none"
    begun = plan(fresh(read_claim=read(many()), service=b.service()), b.NOW)
    assert b.created(begun)[0] == "digits-0-0-1"
    other = ReadClaim("another", None, b.NOW)
    assert plan(fresh(read_claim=other), b.NOW).read == Read(CLAIMS, "team", "models")


@pytest.mark.parametrize(
    ("found", "workers", "reason", "words"),
    [
        (
            None,
            1,
            "ClaimNotFound",
            "models, which checkpoint.volume.sharedClaim names, does not exist in namespace team",
        ),
        (many(deleting=True), 1, "ClaimNotFound", "is being deleted"),
        (many(phase="Lost"), 2, "ClaimLost", "Create it anew"),
        (many(volumeMode="Block"), 2, "ClaimUnsuitable", "its volumeMode is Block"),
        (many(accessModes=["ReadOnlyMany"]), 1, "ClaimUnsuitable", "nothing can be written to it"),
        (many(accessModes=["ReadWriteOnce"]), 2, "ClaimUnsuitable", "2 workers on several nodes share it"),
    ],
)
def test_a_shared_claim_that_will_not_do_is_told_and_nothing_is_made(
    found: Claim | None, workers: int, reason: str, words: str
) -> None:
    result = plan(fresh(workers=workers, read_claim=read(found)), b.NOW)
    status = b.wanted(result.status)
    accepted = b.condition(status, "Accepted")
    assert (accepted["status"], accepted["reason"], status["phase"]) == ("False", reason, "Pending")
    assert words in accepted["message"]
    assert (result.actions, result.write_ahead, result.dry_run) == ((), None, None)
    assert result.requeue_after_s == 30


@pytest.mark.parametrize("modes", [["ReadWriteOnce"], ["ReadWriteOncePod"], ["ReadOnlyMany", "ReadWriteMany"]])
def test_one_worker_needs_no_more_than_to_write(modes: list[str]) -> None:
    found = read(many(accessModes=modes, phase="Pending"))
    result = plan(fresh(workers=1, read_claim=found, service=b.service()), b.NOW)
    assert b.created(result) == ["digits-0-0-1"]


def test_a_shared_claim_that_vanished_is_told_while_pods_wait_and_read_again() -> None:
    waiting = (unscheduled(0, 'persistentvolumeclaim "models" not found'), unscheduled(1, "the same"))
    stale = plan(starting(SHARED, *waiting, read_claim=read(many(), seconds_ago=40)), b.NOW)
    assert stale.read == Read(CLAIMS, "team", "models")
    seen = starting(SHARED, *waiting, read_claim=read(None))
    assert "create it, and the job goes on by itself" in told(seen, "ClaimNotFound")
    assert plan(seen, b.NOW).read is None
    assert (plan(seen, b.NOW).requeue_after_s or 99) <= 30


def test_jobs_without_a_shared_claim_read_nothing() -> None:
    kinds: tuple[dict[str, Any], ...] = ({"disk": {}}, TEMPLATE)
    for kind in kinds:
        assert plan(fresh(kind), b.NOW).read is None
        waiting = starting(kind, unscheduled(0, UNBOUND), unscheduled(1, UNBOUND), claims=of_slots(0, 1))
        assert plan(waiting, b.NOW).read is None
