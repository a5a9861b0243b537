"""Creating and changing objects: what the server stamps, what it ignores, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cluster.client import ONE_METADATA_ONLY
from holdfast.cluster.lease import LEASES
from holdfast.planning.plan import PODS, TRAINING_JOBS
from tests.cluster.conformance.servers import Api, job, pod, refusal


def version(document: dict[str, Any]) -> str:
    return str(document["metadata"]["resourceVersion"])


async def test_the_server_stamps_a_new_object(api: Api) -> None:
    wanted = job("j")
    wanted["metadata"] |= {"uid": "of-my-own", "generation": 7, "labels": {}, "finalizers": []}
    made = await api.create({**wanted, "status": {"attempt": 3}})
    metadata = made["metadata"]
    assert (made["kind"], made["apiVersion"]) == ("TrainingJob", "holdfast.dev/v1alpha1")
    assert metadata["uid"] != "of-my-own"
    assert metadata["generation"] == 1
    assert metadata["namespace"] == api.namespace
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["creationTimestamp"].endswith("Z")
    assert not {"labels", "finalizers"} & metadata.keys()
    assert "status" not in made
    assert (await api.get(TRAINING_JOBS, "j")) == made


@pytest.mark.parametrize("document", [pod("o"), job("o")], ids=["a built-in kind", "a kind of ours"])
async def test_the_answer_to_a_change_is_metadata_only_where_that_is_asked_for(
    api: Api, document: dict[str, Any]
) -> None:
    resource = PODS if document["kind"] == "Pod" else TRAINING_JOBS

    async def answer(method: str, path: str, body: dict[str, Any], kind: str = "", **query: str) -> dict[str, Any]:
        answered = await api.call(method, path, body, kind=kind, accept=ONE_METADATA_ONLY, **query)
        assert (answered["kind"], answered["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
        assert answered.keys() == {"kind", "apiVersion", "metadata"}
        return answered

    tried = await answer("POST", api.path(resource), document, dryRun="All")
    assert tried["metadata"]["name"] == "o"
    made = await answer("POST", api.path(resource), document)
    assert made["metadata"] == (await api.get(resource, "o"))["metadata"]
    labelled = {"metadata": {"labels": {"a": "b"}}}
    changed = await answer("PATCH", api.path(resource, "o"), labelled, "application/merge-patch+json")
    assert changed["metadata"]["labels"] == {"a": "b"}
    held = await api.get(resource, "o")
    assert changed["metadata"] == held["metadata"]
    put = await answer("PUT", api.path(resource, "o", "status"), {**held, "status": {"attempt": 1}})
    assert put["metadata"] == (await api.get(resource, "o"))["metadata"]
    taken = await refusal(api.call("POST", api.path(resource), document, accept=ONE_METADATA_ONLY))
    assert (taken.status, taken.reason) == (409, "AlreadyExists")


async def test_a_pod_begins_pending_and_has_a_generation(api: Api) -> None:
    made = await api.create({**pod("p"), "status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Pending"
    assert made["metadata"]["generation"] == 1


async def test_a_lease_has_no_generation(api: Api) -> None:
    made = await api.create({"kind": "Lease", "metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    assert "generation" not in made["metadata"]


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.create(job("j"))
    for query in ({}, {"dryRun": "All"}):
        error = await refusal(api.create(job("j"), **query))
        assert (error.status, error.reason) == (409, "AlreadyExists")
        assert error.message == 'trainingjobs.holdfast.dev "j" already exists'
    await api.create(pod("p"))
    assert (await refusal(api.create(pod("p")))).message == 'pods "p" already exists'


async def test_names_may_be_left_to_the_server(api: Api) -> None:
    wanted = job("")
    wanted["metadata"] = {"generateName": "any-"}
    names = {(await api.create(wanted))["metadata"]["name"] for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("any-") and len(name) == len("any-") + 5 for name in names)


async def test_what_cannot_be_created(api: Api) -> None:
    other = job("j")
    other["metadata"]["namespace"] = "elsewhere"
    assert (await refusal(api.create(other))).status == 400
    versioned = job("j")
    versioned["metadata"]["resourceVersion"] = "1"
    error = await refusal(api.create(versioned))
    assert (error.status, error.reason) == (500, "")
    assert "resourceVersion should not be set on objects to be created" in error.message


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "name or generateName is required"),
        ({"name": "Upper"}, 'metadata.name: Invalid value: "Upper"'),
        ({"name": "p", "labels": {"a": "x" * 64}}, "metadata.labels: Invalid value"),
        ({"name": "p", "labels": {"a": "no spaces"}}, "metadata.labels: Invalid value"),
    ],
    ids=["no name", "upper case", "long label", "odd label"],
)
async def test_metadata_is_checked(api: Api, metadata: dict[str, Any], words: str) -> None:
    for document in (pod("p"), job("j")):
        error = await refusal(api.create({**document, "metadata": metadata}))
        assert (error.status, error.reason) == (422, "Invalid")
        assert words in error.message


async def test_a_dry_run_answers_and_keeps_nothing(api: Api) -> None:
    answer = await api.create(pod("p"), dryRun="All")
    assert answer["metadata"]["uid"]
    assert "resourceVersion" not in answer["metadata"]
    assert not await api.exists(PODS, "p")
    held = await api.create(job("j"))
    tried = await api.patch(TRAINING_JOBS, "j", {"spec": {"suspend": False}}, dryRun="All")
    assert tried["spec"]["suspend"] is False
    assert await api.get(TRAINING_JOBS, "j") == held


async def test_a_patch_of_the_right_version_lands_and_of_an_old_one_does_not(api: Api) -> None:
    first = await api.create(job("j"))
    body = {"metadata": {"resourceVersion": version(first), "labels": {"a": "1"}}}
    second = await api.patch(TRAINING_JOBS, "j", body)
    assert int(version(second)) > int(version(first))
    for part in ("", "status"):
        error = await refusal(api.patch(TRAINING_JOBS, "j", body | {"status": {"attempt": 1}}, part))
        assert (error.status, error.reason) == (409, "Conflict")
        assert error.message == (
            'Operation cannot be fulfilled on trainingjobs.holdfast.dev "j": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )


async def test_a_patch_of_another_uid_is_refused(api: Api) -> None:
    await api.create(job("j"))
    await api.create(pod("p"))
    for resource, name in ((TRAINING_JOBS, "j"), (PODS, "p")):
        other = {"metadata": {"uid": "of-an-older-one", "labels": {"a": "1"}}}
        error = await refusal(api.patch(resource, name, other))
        assert (error.status, error.reason) == (422, "Invalid")
        assert 'metadata.uid: Invalid value: "of-an-older-one": field is immutable' in error.message


async def test_a_patch_of_what_is_not_there(api: Api) -> None:
    for part in ("", "status"):
        error = await refusal(api.patch(TRAINING_JOBS, "j", {"metadata": {"labels": {"a": "1"}}}, part))
        assert (error.status, error.reason) == (404, "NotFound")
        assert error.message == 'trainingjobs.holdfast.dev "j" not found'


async def test_a_merge_patch_takes_away_what_is_null_and_replaces_lists(api: Api) -> None:
    wanted = job("j", recovery={"finalExitCodes": [1, 2]})
    wanted["metadata"]["labels"] = {"a": "1", "b": "2"}
    await api.create(wanted)
    body = {"metadata": {"labels": {"a": None, "c": "3"}}, "spec": {"recovery": {"finalExitCodes": [3]}}}
    patched = await api.patch(TRAINING_JOBS, "j", body)
    assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert patched["spec"]["recovery"]["finalExitCodes"] == [3]
    bare = await api.patch(TRAINING_JOBS, "j", {"metadata": {"labels": {"b": None, "c": None}}})
    assert "labels" not in bare["metadata"]


async def test_other_kinds_of_patches_are_refused(api: Api) -> None:
    await api.create(job("j"))
    error = await refusal(api.call("PATCH", api.path(TRAINING_JOBS, "j"), {}, kind="text/plain"))
    assert (error.status, error.reason) == (415, "UnsupportedMediaType")


async def test_each_path_writes_its_own_part(api: Api) -> None:
    first = await api.create(job("j"))
    body = {"metadata": {"labels": {"a": "1"}}, "spec": {"suspend": False}, "status": {"attempt": 1}}
    after = await api.patch(TRAINING_JOBS, "j", body, "status")
    assert after["status"]["attempt"] == 1
    assert after["spec"] == first["spec"]
    assert "labels" not in after["metadata"]
    body["status"] = {"attempt": 2}
    after = await api.patch(TRAINING_JOBS, "j", body)
    assert after["status"]["attempt"] == 1
    assert after["spec"]["suspend"] is False
    assert after["metadata"]["labels"] == {"a": "1"}


async def test_a_pods_status_has_a_path_of_its_own(api: Api) -> None:
    await api.create(pod("p"))
    await api.patch(PODS, "p", {"status": {"phase": "Running"}})
    assert (await api.get(PODS, "p"))["status"]["phase"] == "Pending"
    after = await api.patch(PODS, "p", {"status": {"phase": "Running"}}, "status")
    assert after["status"]["phase"] == "Running"


async def test_a_change_that_changes_nothing_is_none(api: Api) -> None:
    first = await api.create(job("j"))
    await api.patch(TRAINING_JOBS, "j", {"status": {"attempt": 1}}, "status")
    held = await api.get(TRAINING_JOBS, "j")
    assert int(version(held)) > int(version(first))
    assert await api.patch(TRAINING_JOBS, "j", {"status": {"attempt": 1}}, "status") == held
    assert await api.patch(TRAINING_JOBS, "j", {"spec": {"suspend": True}}) == held
    assert await api.patch(TRAINING_JOBS, "j", {"metadata": {"labels": {"gone": None}}}) == held
    assert version(await api.put(TRAINING_JOBS, held)) == version(held)


async def test_the_generation_counts_what_is_asked_for(api: Api) -> None:
    generations = [(await api.create(job("j")))["metadata"]["generation"]]
    for body, part in (
        ({"status": {"attempt": 1}}, "status"),
        ({"metadata": {"labels": {"a": "1"}}}, ""),
        ({"spec": {"suspend": True}}, ""),
        ({"spec": {"suspend": False}}, ""),
        ({"spec": {"suspend": True}}, ""),
    ):
        generations.append((await api.patch(TRAINING_JOBS, "j", body, part))["metadata"]["generation"])
    assert generations == [1, 1, 1, 1, 2, 3]


async def test_a_put_replaces_and_says_what_it_replaces(api: Api) -> None:
    wanted = job("j")
    wanted["metadata"]["labels"] = {"a": "1"}
    first = await api.create(wanted)
    error = await refusal(api.put(TRAINING_JOBS, wanted))
    assert (error.status, error.reason) == (422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: 0" in error.message
    assert "must be specified for an update" in error.message
    wanted["metadata"] = {"name": "j", "resourceVersion": version(first)}
    second = await api.put(TRAINING_JOBS, wanted)
    assert "labels" not in second["metadata"]
    assert (
        await refusal(api.put(TRAINING_JOBS, wanted | {"spec": {**wanted["spec"], "suspend": False}}))
    ).status == 409


async def test_a_status_is_replaced_without_the_rest_of_its_object(api: Api) -> None:
    marked = job("j")
    marked["metadata"] |= {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["holdfast.dev/test"]}
    made = await api.create(marked)

    async def put(before: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        place = {key: before["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
        about = {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": place}
        return await api.put(TRAINING_JOBS, {**about, "status": status}, "status")

    first = await put(made, {"attempt": 1, "message": "x"})
    second = await put(first, {"attempt": 2})
    assert {key: value for key, value in second["status"].items() if value} == {"attempt": 2}
    assert second["spec"] == made["spec"]
    kept = ("labels", "annotations", "finalizers", "generation", "uid")
    assert {key: second["metadata"].get(key) for key in kept} == {key: made["metadata"].get(key) for key in kept}
    error = await refusal(put(first, {"attempt": 3}))
    assert (error.status, error.reason) == (409, "Conflict")
    await api.patch(TRAINING_JOBS, "j", {"metadata": {"finalizers": None}})


async def test_a_lease_is_put_with_its_version_alone(api: Api) -> None:
    lease = {"kind": "Lease", "metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}
    first = await api.create(lease)
    error = await refusal(api.put(LEASES, {**lease, "apiVersion": "coordination.k8s.io/v1"}))
    assert (error.status, error.reason) == (422, "Invalid")
    first["spec"]["holderIdentity"] = "b"
    second = await api.put(LEASES, first)
    assert second["spec"]["holderIdentity"] == "b"
    error = await refusal(api.put(LEASES, {**first, "spec": {"holderIdentity": "c"}}))
    assert (error.status, error.reason) == (409, "Conflict")


async def test_unknown_places(api: Api) -> None:
    for path in ("/apis/holdfast.dev/v1alpha1/namespaces/x/nothings", "/api/v1/namespaces/x/nothings/n"):
        error = await refusal(api.call("GET", path))
        assert error.status == 404
        assert error.message.strip() in ("404 page not found", "the server could not find the requested resource")
