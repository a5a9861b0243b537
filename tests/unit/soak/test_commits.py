"""The soak sees a loss: a commit that goes back, is gone, or holds other bytes than the trainer wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.demo.bucket import Bucket as SeenBucket
from tests.e2e.harness.plain_trainer import payload, state_after
from tests.soak.commits import CommitWatch
from tests.support.bucket import Bucket
from tests.support.bucket_server import BucketServer

PREFIX, SIZE = "ns/job", 100


class Writer:
    """Writes commits of one worker as sidecars do."""

    def __init__(self) -> None:
        self.bucket = Bucket()

    def put(self, name: str, data: bytes | dict[str, Any]) -> dict[str, Any]:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        stored = self.bucket.write(f"{PREFIX}/{name}", body, None)
        return {"object": name, "generation": stored.generation, "crc32c": stored.crc32c, "size": len(body)}

    def commit(self, run: int, step: int, *, state: str = "", data: bytes = b"") -> None:
        at = f"runs/{run:08d}/steps/{step:012d}"
        facts = {"step": step, "state": state or state_after(step)}
        files = [
            {"path": "state.json", **self.put(f"{at}/data/state", json.dumps(facts).encode())},
            {"path": "payload.bin", **self.put(f"{at}/data/payload", data or payload(step, SIZE))},
        ]
        part = self.put(f"{at}/parts/0-0.json", {"slot": "0-0", "files": files})
        self.put(f"{at}/commit.json", {"run": run, "step": step, "parts": [part]})

    def remove(self, run: int, step: int) -> None:
        for name in self.bucket.names(f"{PREFIX}/runs/{run:08d}/steps/{step:012d}/"):
            self.bucket.remove(name)


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def watch(writer: Writer) -> Iterator[CommitWatch]:
    with BucketServer(b=writer.bucket) as server:
        yield CommitWatch(SeenBucket(server.url, "b"), SIZE)


def status(step: int | None, *, exit_code: int = 137) -> dict[str, Any]:
    latest = {} if step is None else {"latest": {"step": step}}
    return {"checkpoint": latest, "attempts": [{"attempt": 1, "exitCode": exit_code}]}


def test_commits_that_go_on_are_right(writer: Writer, watch: CommitWatch) -> None:
    assert watch.look(PREFIX, status(None)) is None
    for run, step in ((1, 10), (1, 20), (2, 30)):
        writer.commit(run, step)
        newest = watch.look(PREFIX, status(step))
        assert newest is not None
        assert (newest.run, newest.step) == (run, step)
    # A job that was applied again knows nothing at first.
    watch.look(PREFIX, status(None))
    assert watch.looked == 3


def test_a_step_that_was_called_committed_and_is_gone_is_a_loss(writer: Writer, watch: CommitWatch) -> None:
    writer.commit(1, 10)
    writer.commit(1, 20)
    watch.look(PREFIX, status(20))
    writer.remove(1, 20)
    with pytest.raises(AssertionError, match="step 20 was called committed, and the newest of the bucket is 10"):
        watch.look(PREFIX, status(20))


def test_a_run_that_goes_on_from_less_is_a_loss(writer: Writer, watch: CommitWatch) -> None:
    writer.commit(1, 20)
    watch.look(PREFIX, status(20))
    writer.commit(2, 10)
    with pytest.raises(AssertionError, match="step 20 was called committed, and the newest of the bucket is 10"):
        watch.look(PREFIX, status(None))


def test_a_status_that_goes_back_is_a_loss(writer: Writer, watch: CommitWatch) -> None:
    writer.commit(1, 20)
    watch.look(PREFIX, status(20))
    with pytest.raises(AssertionError, match="step 10 is called newest, and 20 was before"):
        watch.look(PREFIX, status(10))


def test_an_orphan_that_nobody_calls_committed_is_none(writer: Writer, watch: CommitWatch) -> None:
    writer.commit(1, 10)
    writer.commit(1, 20)
    writer.commit(2, 20)
    writer.commit(1, 30)
    newest = watch.look(PREFIX, status(20))
    assert newest is not None
    assert newest.run == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [({"state": "0" * 64}, "the state is not what that step leads to"), ({"data": b"x" * SIZE}, "other bytes")],
)
def test_other_bytes_are_a_loss(writer: Writer, watch: CommitWatch, change: dict[str, Any], message: str) -> None:
    writer.commit(1, 10, **change)
    with pytest.raises(AssertionError, match=message):
        watch.look(PREFIX, status(10))


def test_a_part_that_is_missing_is_a_loss(writer: Writer, watch: CommitWatch) -> None:
    writer.commit(1, 10)
    writer.bucket.remove(f"{PREFIX}/runs/{1:08d}/steps/{10:012d}/data/payload")
    with pytest.raises(AssertionError, match="is named by a manifest and missing"):
        watch.look(PREFIX, status(10))


def test_a_trainer_that_refuses_its_checkpoint_is_a_loss(watch: CommitWatch) -> None:
    with pytest.raises(AssertionError, match=r"a trainer of attempts \[1\] refused"):
        watch.look(PREFIX, status(None, exit_code=1))
