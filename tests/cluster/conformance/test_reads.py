"""Gets and lists: selectors, pages that belong together, and which version of the world is answered from."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from holdfast.cluster.client import METADATA_ONLY, ApiClient
from holdfast.planning.plan import PODS, TRAINING_JOBS, Resource
from holdfast.seams.real import SystemClock, SystemRandom
from tests.cluster.conformance.servers import Api, job, pod, refusal


def names(listed: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_a_list_is_sorted_and_says_its_version(api: Api) -> None:
    for name in ("b", "a-c", "a", "a.b"):
        await api.create(job(name.replace(".", "0")))
    newest = await api.create(job("z"))
    listed = await api.list(TRAINING_JOBS)
    assert names(listed) == sorted(names(listed))
    assert (listed["kind"], listed["apiVersion"]) == ("TrainingJobList", "holdfast.dev/v1alpha1")
    assert int(listed["metadata"]["resourceVersion"]) >= int(newest["metadata"]["resourceVersion"])
    assert listed["items"][-1] == newest, "items of our kinds say what they are"


async def test_items_of_built_in_kinds_do_not_say_what_they_are(api: Api) -> None:
    await api.create(pod("p"))
    listed = await api.list(PODS)
    assert listed["kind"] == "PodList"
    assert not {"kind", "apiVersion"} & listed["items"][0].keys()


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("team=red", ["a"]),
        ("team==red", ["a"]),
        ("team!=red", ["b", "c"]),
        ("team", ["a", "b"]),
        ("!team", ["c"]),
        ("team in (red, blue),size!=1", ["b"]),
        ("team notin (red)", ["b", "c"]),
    ],
)
async def test_label_selectors(api: Api, selector: str, wanted: list[str]) -> None:
    for name, labels in (("a", {"team": "red", "size": "1"}), ("b", {"team": "blue"}), ("c", {})):
        await api.create(pod(name, labels=labels))
    assert names(await api.list(PODS, labelSelector=selector)) == wanted


async def test_field_selectors(api: Api) -> None:
    await api.create(pod("a", nodeName="n-1"))
    await api.create(pod("b", nodeName="n-2"))
    await api.create(pod("c"))
    assert names(await api.list(PODS, fieldSelector="spec.nodeName=n-1")) == ["a"]
    assert names(await api.list(PODS, fieldSelector="spec.nodeName!=n-1,metadata.name!=c")) == ["b"]
    assert names(await api.list(PODS, fieldSelector="status.phase=Pending")) == ["a", "b", "c"]
    await api.create(job("j"))
    assert names(await api.list(TRAINING_JOBS, fieldSelector="metadata.name=j")) == ["j"]


async def test_selectors_that_cannot_be(api: Api) -> None:
    for query in ({"labelSelector": "a in red"}, {"fieldSelector": "spec.image=x"}):
        assert (await refusal(api.list(PODS, **query))).status == 400


async def test_pages_show_one_moment(api: Api) -> None:
    for number in range(5):
        await api.create(pod(f"p-{number}", labels={"kept": "yes"}))
    query = {"limit": "2", "labelSelector": "kept=yes"}
    first = await api.list(PODS, **query)
    assert names(first) == ["p-0", "p-1"]
    await api.delete(PODS, "p-3")
    await api.create(pod("p-2-and-a-half", labels={"kept": "yes"}))
    second = await api.list(PODS, **query, **{"continue": first["metadata"]["continue"]})
    third = await api.list(PODS, **query, **{"continue": second["metadata"]["continue"]})
    assert names(second) + names(third) == ["p-2", "p-3", "p-4"]
    assert not third["metadata"].get("continue")
    versions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1, "a watch from there misses nothing"
    assert names(await api.list(PODS)) == ["p-0", "p-1", "p-2", "p-2-and-a-half", "p-4"]


@pytest.mark.parametrize("resource", [PODS, TRAINING_JOBS], ids=["a built-in kind", "a kind of ours"])
async def test_a_list_of_metadata_only(api: Api, resource: Resource) -> None:
    made = [await api.create(one(f"o-{number}")) for number in range(3) for one in (pod, job)]
    whole = await api.list(resource)
    first = await api.call("GET", api.path(resource), accept=METADATA_ONLY, limit="2")
    assert (first["kind"], first["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert first["metadata"]["remainingItemCount"] == 1
    more = {"limit": "2", "continue": first["metadata"]["continue"]}
    second = await api.call("GET", api.path(resource), accept=METADATA_ONLY, **more)
    items = first["items"] + second["items"]
    assert {(item["kind"], item["apiVersion"]) for item in items} == {("PartialObjectMetadata", "meta.k8s.io/v1")}
    assert all(item.keys() == {"kind", "apiVersion", "metadata"} for item in items)
    assert [item["metadata"] for item in items] == [item["metadata"] for item in whole["items"]]
    assert len(made) == 6
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


@pytest.mark.parametrize("resource", [PODS, TRAINING_JOBS], ids=["a built-in kind", "a kind of ours"])
async def test_an_empty_list_of_metadata_only_has_no_items_at_all(api: Api, resource: Resource) -> None:
    listed = await api.call("GET", api.path(resource), accept=METADATA_ONLY, limit="2")
    assert listed["items"] is None
    assert (await api.list(resource))["items"] == []
    client = ApiClient(api.transport, SystemClock(), SystemRandom())
    assert await client.list_headers(resource, api.namespace, "team=none") == []


async def test_metadata_only_selects_as_ever(api: Api) -> None:
    await api.create(pod("a", labels={"team": "red"}))
    await api.create(pod("b", labels={"team": "blue"}))
    listed = await api.call("GET", api.path(PODS), accept=METADATA_ONLY, labelSelector="team=red")
    assert names(listed) == ["a"]
    assert listed["items"][0]["metadata"]["labels"] == {"team": "red"}


async def test_a_page_that_is_exactly_full_is_the_last(api: Api) -> None:
    for number in range(4):
        await api.create(job(f"j-{number}"))
    first = await api.list(TRAINING_JOBS, limit="2")
    assert first["metadata"]["remainingItemCount"] == 2
    second = await api.list(TRAINING_JOBS, limit="2", **{"continue": first["metadata"]["continue"]})
    assert not second["metadata"].get("continue")


async def test_a_token_that_is_none(api: Api) -> None:
    await api.create(job("j-1"))
    await api.create(job("j-2"))
    assert (await refusal(api.list(TRAINING_JOBS, limit="1", **{"continue": "nonsense"}))).status == 400
    first = await api.list(TRAINING_JOBS, limit="1")
    token = first["metadata"]["continue"]
    assert (await refusal(api.list(TRAINING_JOBS, limit="1", resourceVersion="7", **{"continue": token}))).status == 400


def of_version(token: str, version: int) -> str:
    """Return a continue token as one of an older list would be. (Caches go on from newer ones than etcd holds.)"""
    held = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(orjson.dumps({**held, "rv": version})).decode().rstrip("=")


async def test_a_list_that_is_continued_too_late_is_gone(api: Api) -> None:
    for number in range(4):
        await api.create(job(f"j-{number}"))
    first = await api.list(TRAINING_JOBS, limit="2")
    newest = await api.patch(TRAINING_JOBS, "j-0", {"status": {"attempt": 1}}, "status")
    api.forget(int(newest["metadata"]["resourceVersion"]))
    late = of_version(first["metadata"]["continue"], 1)
    error = await refusal(api.list(TRAINING_JOBS, limit="2", **{"continue": late}))
    assert (error.status, error.reason) == (410, "Expired")
    assert "continue parameter is too old" in error.message


async def test_exactly_a_version_or_none(api: Api) -> None:
    await api.create(job("j-1"))
    then = await api.list(TRAINING_JOBS)
    version = then["metadata"]["resourceVersion"]
    await api.create(job("j-2"))
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert names(await api.list(TRAINING_JOBS, **exact)) == ["j-1"]
    newest = await api.create(job("j-3"))
    api.forget(int(newest["metadata"]["resourceVersion"]))
    error = await refusal(api.list(TRAINING_JOBS, **{**exact, "resourceVersion": "2"}))
    assert (error.status, error.reason) == (410, "Expired")


async def test_reads_that_name_a_version_are_at_least_as_new(api: Api) -> None:
    made = await api.create(job("j"))
    version = made["metadata"]["resourceVersion"]
    assert await api.get(TRAINING_JOBS, "j", resourceVersion=version) == made
    assert names(await api.list(TRAINING_JOBS, resourceVersion=version)) == ["j"]
    error = await refusal(api.list(TRAINING_JOBS, resourceVersion=str(int(version) + 1_000_000)))
    assert (error.status, error.reason) == (504, "Timeout")
    assert error.retry_after_s == 1
    assert "Too large resource version" in error.message


async def test_any_version_is_an_answer_without_pages(api: Api) -> None:
    for number in range(3):
        made = await api.create(job(f"j-{number}"))
    # A cache shows what was written in its own time: wait until this one does.
    await api.list(TRAINING_JOBS, resourceVersion=made["metadata"]["resourceVersion"])
    listed = await api.list(TRAINING_JOBS, resourceVersion="0", limit="1")
    assert names(listed) == ["j-0", "j-1", "j-2"]
    assert (await api.get(TRAINING_JOBS, "j-0", resourceVersion="0"))["metadata"]["name"] == "j-0"


async def test_what_is_not_there(api: Api) -> None:
    error = await refusal(api.get(PODS, "p"))
    assert (error.status, error.reason, error.message) == (404, "NotFound", 'pods "p" not found')
    assert names(await api.list(PODS)) == []
