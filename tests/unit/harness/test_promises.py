"""What the cases on real nodes ask of a bucket is answered with no where it must be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.demo.bucket import Bucket as Seen
from tests.e2e.harness import promises
from tests.support.bucket import Bucket
from tests.support.bucket_server import BucketServer

DATA = "runs/00000001/steps/000000000010/data/0-0/state"
PART = "runs/00000001/steps/000000000010/parts/0-0.json"


def _put(bucket: Bucket, name: str, content: Any) -> dict[str, Any]:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    stored = bucket.write(f"jobs/digits/{name}", data, None)
    return {"object": name, "generation": stored.generation, "crc32c": stored.crc32c}


def _run(bucket: Bucket, run: int, attempt: int, start: dict[str, int] | None = None) -> None:
    _put(bucket, f"runs/{run:08d}/run.json", {"jobCreated": "2026-01-01", "jobUid": "uid", "attempt": attempt})
    _put(bucket, f"runs/{run:08d}/restore/0001/plan.json", {"kind": "Commit", "commit": start})


def _commit(bucket: Bucket, run: int, step: int, attempt: int) -> None:
    folder = f"runs/{run:08d}/steps/{step:012d}"
    file = {**_put(bucket, f"{folder}/data/0-0/state", b"state"), "size": 5}
    part = {**_put(bucket, f"{folder}/parts/0-0.json", {"slot": "0-0", "files": [file]}), "slot": "0-0"}
    _put(bucket, f"{folder}/commit.json", {"run": run, "step": step, "attempt": attempt, "parts": [part]})


@pytest.fixture
def bucket() -> Bucket:
    """Two runs, the second of which went on from the first."""
    made = Bucket()
    _run(made, 1, 1)
    _commit(made, 1, 10, 1)
    _run(made, 2, 2, {"run": 1, "step": 10})
    _commit(made, 2, 20, 2)
    return made


@pytest.fixture
def seen(bucket: Bucket) -> Iterator[Seen]:
    with BucketServer(holdfast=bucket) as server:
        yield Seen(server.url, "holdfast")


def test_a_good_bucket(seen: Seen) -> None:
    promises.commits_are_right(seen, "jobs/digits")
    assert [(commit.run, commit.step) for commit in seen.commits("jobs/digits")] == [(1, 10), (2, 20)]


@pytest.mark.parametrize(
    ("breach", "told"),
    [
        (lambda bucket: bucket.remove(f"jobs/digits/{DATA}"), "is named by a manifest and missing"),
        (lambda bucket: bucket.write(f"jobs/digits/{DATA}", b"state", None), "was written again"),
        (lambda bucket: bucket.remove(f"jobs/digits/{PART}"), "is named by a manifest and missing"),
        (lambda bucket: _commit(bucket, 2, 10, 2), "started from step 10 and committed"),
        (lambda bucket: _commit(bucket, 2, 30, 1), "is of attempt 1"),
        (lambda bucket: _run(bucket, 3, 2), "out of order"),
    ],
)
def test_a_breach_is_seen(breach: Callable[[Bucket], object], told: str, bucket: Bucket, seen: Seen) -> None:
    breach(bucket)
    with pytest.raises(AssertionError, match=told):
        promises.commits_are_right(seen, "jobs/digits")
