"""What must be true of every job after whatever has happened to it, read from the bucket and the API server alone."""

from __future__ import annotations

import base64
from typing import Any

from deploy.demo.bucket import Bucket, Commit
from deploy.demo.job import Job
from tests.e2e.harness.pod_history import PodHistory

Fields = dict[str, Any]


def check(job: Job, history: PodHistory) -> None:
    """Raise AssertionError where a promise was broken."""
    at_most_one(job, history)
    commits_are_right(job.lab.bucket, job.prefix())
    rows = job.status().get("attempts") or []
    numbers = [row["attempt"] for row in rows]
    assert numbers == sorted(set(numbers)), f"attempts are not counted upwards: {numbers}"


def commits_are_right(bucket: Bucket, prefix: str) -> None:
    """Raise AssertionError where a commit below a prefix is not whole, or is of a run that may not have made it."""
    objects = {str(item["name"]): item for item in bucket.objects(f"{prefix}/")}
    commits = bucket.commits(prefix)
    _runs_are_attempts(bucket, prefix, objects, commits)
    _monotone(bucket, prefix, objects, commits)
    for commit in commits:
        whole(bucket, commit, objects)


def at_most_one(job: Job, history: PodHistory) -> None:
    """Raise AssertionError where a worker had two pods in one attempt, or two attempts had pods at the same time."""
    assert history.problems(job.namespace) == []
    assert history.gaps == 0, "the watch of pods was cut: what was seen is not all"
    found = job.object()
    attempt = int(found["status"]["attempt"])
    seen = history.slots(job.namespace, str(found["metadata"]["uid"]), attempt)
    workers = int(found["spec"]["accelerator"]["cpu"]["workers"])
    assert len(seen) == workers, f"of attempt {attempt} the watch has seen {sorted(seen)} only"


def whole(bucket: Bucket, commit: Commit, objects: dict[str, Fields]) -> None:
    """Raise AssertionError where the commit names an object that is not there as it was written."""
    prefix = bucket.prefix_of(commit)
    manifest = bucket.document(commit.name)
    assert (manifest["run"], manifest["step"]) == (commit.run, commit.step)
    for entry in manifest["parts"]:
        _is_as_written(f"{prefix}/{entry['object']}", entry, objects)
    for part in bucket.parts(commit):
        for file in part["files"]:
            item = _is_as_written(f"{prefix}/{file['object']}", file, objects)
            assert int(item["size"]) == file["size"], f"{item['name']} has another size than the manifest says"


def _is_as_written(name: str, wanted: Fields, objects: dict[str, Fields]) -> Fields:
    item = objects.get(name)
    assert item is not None, f"{name} is named by a manifest and missing"
    assert int(item["generation"]) == wanted["generation"], f"{name} was written again"
    checksum = int.from_bytes(base64.b64decode(item["crc32c"]), "big")
    assert checksum == wanted["crc32c"], f"{name} has another checksum than the manifest says"
    return item


def _runs_are_attempts(bucket: Bucket, prefix: str, objects: dict[str, Fields], commits: list[Commit]) -> None:
    """Each commit carries its run's attempt, and no two runs are the same attempt of the same job."""
    names = sorted(name for name in objects if name.endswith("/run.json"))
    runs = {int(name.split("/")[-2]): bucket.document(name) for name in names}
    keys = [(run["jobCreated"], run["jobUid"], run["attempt"]) for _, run in sorted(runs.items())]
    assert keys == sorted(set(keys)), f"runs under {prefix} are out of order: {keys}"
    for commit in commits:
        attempt = bucket.document(commit.name)["attempt"]
        assert attempt == runs[commit.run]["attempt"], f"{commit.name} is of attempt {attempt}"


def _monotone(bucket: Bucket, prefix: str, objects: dict[str, Fields], commits: list[Commit]) -> None:
    """Each run goes on from what was restored, and never commits that again."""
    for run, _, plan in bucket.rounds(prefix):
        start = (plan.get("commit") or {}).get("step")
        again = [commit.step for commit in commits if commit.run == run and start is not None and commit.step <= start]
        assert again == [], f"run {run} started from step {start} and committed {again}"


def went_on_from_newest(job: Job) -> None:
    """Raise AssertionError where a run started from another commit than the newest one of the runs before it.

    Not to be asked of a job that was told to start elsewhere, or whose commits were damaged.
    """
    went_on(job.lab.bucket, job.prefix())


def went_on(bucket: Bucket, prefix: str) -> None:
    """Raise AssertionError where a run below a prefix did not go on from the newest commit of the runs before it."""
    created = {str(item["name"]): str(item["timeCreated"]) for item in bucket.objects(f"{prefix}/runs/")}
    commits = bucket.commits(prefix)
    for run, _, plan in bucket.rounds(prefix):
        fence = created[f"{prefix}/runs/{run:08d}/run.json"]
        # What landed behind the fence of a newer run is an orphan: kept, and never gone on from.
        before = [commit.step for commit in commits if commit.run < run and created[commit.name] < fence]
        start = (plan.get("commit") or {}).get("step") or 0
        assert start >= max(before, default=0), f"run {run} started from step {start}, but {max(before)} was committed"
