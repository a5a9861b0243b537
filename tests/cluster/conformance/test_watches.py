"""Watches: which events come, in which order, from which version on, and how a watch ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from holdfast.planning.plan import PODS, TRAINING_JOBS, Resource
from tests.cluster.conformance.servers import Api, Following, job, pod, until


async def now(api: Api, resource: Resource) -> str:
    return str((await api.list(resource))["metadata"]["resourceVersion"])


def versions(watch: Following) -> list[int]:
    return [int(event["object"]["metadata"]["resourceVersion"]) for event in watch.events]


async def test_everything_since_a_version_in_order(api: Api) -> None:
    await api.create(job("before"))
    since = await now(api, TRAINING_JOBS)
    made = await api.create(job("j"))
    async with api.following(TRAINING_JOBS, resourceVersion=since) as watch:
        changed = await api.patch(TRAINING_JOBS, "j", {"status": {"attempt": 1}}, "status")
        await api.delete(TRAINING_JOBS, "j")
        await until(lambda: len(watch.events) == 3)
    assert watch.told() == [("ADDED", "j"), ("MODIFIED", "j"), ("DELETED", "j")]
    assert [event["object"] for event in watch.events[:2]] == [made, changed]
    last = watch.events[2]["object"]
    assert last["status"] == changed["status"], "a deletion shows the last state"
    assert int(last["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])
    assert versions(watch) == sorted(set(versions(watch)))


async def test_a_version_is_told_once(api: Api) -> None:
    first = await api.create(job("j"))
    version = first["metadata"]["resourceVersion"]
    async with api.following(TRAINING_JOBS, resourceVersion=version) as watch:
        await api.create(job("k"))
        await until(lambda: bool(watch.events))
    assert watch.told() == [("ADDED", "k")], "what has that version was seen already"


async def test_the_order_over_objects_is_that_of_versions(api: Api) -> None:
    since = await now(api, PODS)
    async with api.following(PODS, resourceVersion=since) as watch:
        for number in range(10):
            await api.create(pod(f"p-{number}"))
        for number in range(10):
            await api.delete(PODS, f"p-{number}")
        await until(lambda: len([kind for kind, _ in watch.told() if kind == "DELETED"]) == 10)
    assert versions(watch) == sorted(versions(watch))
    assert [name for kind, name in watch.told() if kind == "ADDED"] == [f"p-{number}" for number in range(10)]


async def test_without_a_version_a_watch_begins_with_what_exists(api: Api) -> None:
    await api.create(job("a"))
    await api.create(job("b"))
    async with api.following(TRAINING_JOBS) as watch:
        await until(lambda: len(watch.events) == 2)
        await api.delete(TRAINING_JOBS, "a")
        await until(lambda: len(watch.events) == 3)
    assert sorted(watch.told()[:2]) == [("ADDED", "a"), ("ADDED", "b")]
    assert watch.told()[2] == ("DELETED", "a")


async def test_a_selector_that_matches_no_more_is_a_deletion_of_what_it_matched(api: Api) -> None:
    since = await now(api, PODS)
    async with api.following(PODS, resourceVersion=since, labelSelector="team=red") as watch:
        await api.create(pod("other", labels={"team": "blue"}))
        made = await api.create(pod("p", labels={"team": "red"}))
        lost = await api.patch(PODS, "p", {"metadata": {"labels": {"team": "blue"}}})
        won = await api.patch(PODS, "p", {"metadata": {"labels": {"team": "red"}}})
        await until(lambda: len(watch.events) >= 3)
    assert watch.told() == [("ADDED", "p"), ("DELETED", "p"), ("ADDED", "p")]
    assert watch.events[1]["object"]["metadata"]["labels"] == {"team": "red"}
    assert versions(watch) == [int(one["metadata"]["resourceVersion"]) for one in (made, lost, won)]


async def test_a_field_that_matches_no_more_is_a_deletion_too(api: Api) -> None:
    since = await now(api, PODS)
    async with api.following(PODS, resourceVersion=since, fieldSelector="status.phase=Pending") as watch:
        await api.create(pod("p", nodeName="n"))
        await api.patch(PODS, "p", {"status": {"phase": "Running"}}, "status")
        await until(lambda: len(watch.events) == 2)
    assert watch.told() == [("ADDED", "p"), ("DELETED", "p")]


async def test_a_watch_ends_in_time_with_a_bookmark_before(api: Api) -> None:
    since = await now(api, PODS)
    query = {"resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": "4", "labelSelector": "is=mine"}
    async with api.following(PODS, **query) as watch:
        other = await api.create(pod("p"))
        await until(lambda: watch.ended, within_s=10)
    assert watch.error is None
    assert {event["type"] for event in watch.events} == {"BOOKMARK"}
    mark: dict[str, Any] = watch.events[-1]["object"]
    assert mark["kind"] == "Pod"
    assert int(mark["metadata"]["resourceVersion"]) >= int(other["metadata"]["resourceVersion"])
    assert versions(watch) == sorted(versions(watch))


async def test_a_bookmark_is_newer_than_what_was_asked_for(api: Api) -> None:
    """Of a resource in which nothing happens no bookmark need come: silence alone is no sign of trouble."""
    since = (await api.create(pod("p")))["metadata"]["resourceVersion"]
    query = {"resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": "4", "labelSelector": "is=mine"}
    async with api.following(PODS, **query) as watch:
        await until(lambda: watch.ended, within_s=10)
    assert all(version > int(since) for version in versions(watch))


async def test_bookmarks_are_for_those_who_ask(api: Api) -> None:
    async with api.following(PODS, resourceVersion=await now(api, PODS), timeoutSeconds="4") as watch:
        await until(lambda: watch.ended, within_s=10)
    assert watch.events == []


async def test_a_version_that_is_too_old_is_told_in_the_stream(api: Api) -> None:
    made = await api.create(job("j"))
    api.forget(int(made["metadata"]["resourceVersion"]))
    async with api.following(TRAINING_JOBS, resourceVersion="1") as watch:
        await until(lambda: watch.ended)
    assert watch.error is None
    (event,) = watch.events
    assert event["type"] == "ERROR"
    status = event["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert "too old resource version: 1" in status["message"]


@pytest.mark.parametrize("finalizer", [True, False])
async def test_a_deletion_with_a_finalizer_is_a_change_before_it_is_an_end(api: Api, finalizer: bool) -> None:
    since = await now(api, TRAINING_JOBS)
    wanted = job("j")
    wanted["metadata"]["finalizers"] = ["holdfast.dev/stop"] if finalizer else []
    async with api.following(TRAINING_JOBS, resourceVersion=since) as watch:
        await api.create(wanted)
        await api.delete(TRAINING_JOBS, "j")
        if finalizer:
            await api.patch(TRAINING_JOBS, "j", {"metadata": {"finalizers": None}})
        await until(lambda: ("DELETED", "j") in watch.told())
    assert watch.told() == [("ADDED", "j"), *([("MODIFIED", "j")] if finalizer else []), ("DELETED", "j")]
    assert orjson.dumps(watch.events)
