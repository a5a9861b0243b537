"""Deletion: preconditions, grace, finalizers, and what is collected when an owner is gone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from holdfast.planning.plan import PODS, SERVICES, TRAINING_JOBS, Resource
from tests.cluster.conformance.servers import Api, job, pod, refusal, until

Document = dict[str, Any]


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


# The garbage collector learns of a new kind at its next look at what there is, every 30 s (kube-controller-manager).
COLLECTED_S = 75.0


async def gone(api: Api, resource: Resource, name: str, within_s: float = 20) -> None:
    """Wait until an object is gone."""

    async def is_gone() -> bool:
        return not await api.exists(resource, name)

    await until(is_gone, within_s)


async def test_a_delete_is_exact(api: Api) -> None:
    held = await api.create(job("j"))
    metadata = held["metadata"]
    for wrong in ({"uid": "of-an-older-one"}, {"resourceVersion": "1"}):
        error = await refusal(api.delete(TRAINING_JOBS, "j", preconditions=wrong))
        assert (error.status, error.reason) == (409, "Conflict")
        (value,) = wrong.values()
        assert f"in the precondition ({value}) does not match the" in error.message
    right = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    answer = await api.delete(TRAINING_JOBS, "j", preconditions=right)
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"]["uid"] == metadata["uid"]
    error = await refusal(api.delete(TRAINING_JOBS, "j", preconditions=right))
    assert (error.status, error.reason, error.message) == (
        404, "NotFound", 'trainingjobs.holdfast.dev "j" not found'
    )  # fmt: skip


async def test_a_dry_run_deletes_nothing(api: Api) -> None:
    held = await api.create(job("j"))
    await api.delete(TRAINING_JOBS, "j", dryRun=["All"])
    assert await api.get(TRAINING_JOBS, "j") == held


async def test_a_finalizer_holds_what_is_deleted(api: Api) -> None:
    wanted = job("j")
    wanted["metadata"]["finalizers"] = ["holdfast.dev/stop", "example.com/other"]
    first = await api.create(wanted)
    answer = await api.delete(TRAINING_JOBS, "j", propagationPolicy="Background")
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 0
    held = await api.get(TRAINING_JOBS, "j")
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == first["metadata"]["generation"] + 1
    await api.delete(TRAINING_JOBS, "j")
    assert await api.get(TRAINING_JOBS, "j") == held, "a second delete changes nothing"
    error = await refusal(api.patch(TRAINING_JOBS, "j", {"metadata": {"finalizers": ["a/b", "holdfast.dev/stop"]}}))
    assert (error.status, error.reason) == (422, "Invalid")
    assert "no new finalizers can be added if the object is being deleted" in error.message
    await api.patch(TRAINING_JOBS, "j", {"status": {"attempt": 1}}, "status")
    left = await api.patch(TRAINING_JOBS, "j", {"metadata": {"finalizers": ["example.com/other"]}})
    assert left["metadata"]["finalizers"] == ["example.com/other"]
    last = await api.patch(TRAINING_JOBS, "j", {"metadata": {"finalizers": []}})
    assert "finalizers" not in last["metadata"]
    assert not await api.exists(TRAINING_JOBS, "j")


async def test_a_pod_on_a_node_is_given_time(api: Api) -> None:
    made = await api.create(pod("p", nodeName="n", terminationGracePeriodSeconds=600))
    marked = (await api.delete(PODS, "p"))["metadata"]
    begun = seconds(made["metadata"]["creationTimestamp"])
    assert marked["deletionGracePeriodSeconds"] == 600
    assert 590 < seconds(marked["deletionTimestamp"]) - begun < 630, "the mark is when the grace ends"
    assert marked["generation"] == made["metadata"]["generation"] + 1
    held = await api.get(PODS, "p")
    for grace in ({}, {"gracePeriodSeconds": 700}, {"gracePeriodSeconds": 600}):
        await api.delete(PODS, "p", **grace)
        assert await api.get(PODS, "p") == held, "a later delete can only shorten"
    shorter = (await api.delete(PODS, "p", gracePeriodSeconds=30))["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 30
    assert 0 <= seconds(shorter["deletionTimestamp"]) - begun < 60
    assert shorter["generation"] == marked["generation"]
    await api.delete(PODS, "p", gracePeriodSeconds=0)
    assert not await api.exists(PODS, "p")


async def test_a_grace_of_our_own(api: Api) -> None:
    await api.create(pod("p", nodeName="n", terminationGracePeriodSeconds=600))
    assert (await api.delete(PODS, "p", gracePeriodSeconds=5))["metadata"]["deletionGracePeriodSeconds"] == 5
    await api.create(pod("q", nodeName="n"))
    assert (await api.delete(PODS, "q"))["metadata"]["deletionGracePeriodSeconds"] == 30


@pytest.mark.parametrize("phase", ["unbound", "Succeeded", "Failed"])
async def test_a_pod_that_nobody_has_to_stop_goes_at_once(api: Api, phase: str) -> None:
    await api.create(pod("p") if phase == "unbound" else pod("p", nodeName="n"))
    if phase != "unbound":
        await api.patch(PODS, "p", {"status": {"phase": phase}}, "status")
    await api.delete(PODS, "p", gracePeriodSeconds=30)
    assert not await api.exists(PODS, "p")


async def test_a_pod_with_a_finalizer_stays_until_it_is_taken_off(api: Api) -> None:
    wanted = pod("p")
    wanted["metadata"]["finalizers"] = ["example.com/hold"]
    await api.create(wanted)
    await api.delete(PODS, "p", gracePeriodSeconds=0)
    assert (await api.get(PODS, "p"))["metadata"]["deletionTimestamp"]
    await api.patch(PODS, "p", {"metadata": {"finalizers": None}})
    assert not await api.exists(PODS, "p")


def owned(document: Document, *owners: Document) -> Document:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        for owner in owners
    ]
    references[0]["controller"] = True
    document["metadata"]["ownerReferences"] = references
    return document


@pytest.mark.timeout(150)
async def test_dependents_go_with_the_last_of_their_owners(api: Api) -> None:
    first, second = await api.create(job("j-1")), await api.create(job("j-2"))
    await api.create(owned(pod("of-both"), first, second))
    await api.create(owned(pod("of-first"), first))
    await api.create(owned(pod("bound", nodeName="n"), first))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"clusterIP": "None"}}
    await api.create(owned(service, first))
    await api.delete(TRAINING_JOBS, "j-1", propagationPolicy="Background")
    await gone(api, PODS, "of-first", COLLECTED_S)
    await gone(api, SERVICES, "s")

    async def is_marked() -> bool:
        return "deletionTimestamp" in (await api.get(PODS, "bound"))["metadata"]

    await until(is_marked)
    assert await api.exists(PODS, "of-both")
    await api.delete(TRAINING_JOBS, "j-2", propagationPolicy="Background")
    await gone(api, PODS, "of-both")


@pytest.mark.timeout(150)
async def test_a_dependent_of_an_owner_that_is_gone_already_goes_too(api: Api) -> None:
    owner = await api.create(job("j"))
    await api.delete(TRAINING_JOBS, "j")
    await api.create(owned(pod("late"), owner))
    await gone(api, PODS, "late", COLLECTED_S)
