"""The demo's proof is written from manifests as the sidecar writes them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from deploy.demo import proof
from deploy.demo.bucket import Commit
from deploy.demo.job import Job
from deploy.kind.console import Problem
from holdfast.checkpoint import manifests

FINAL = {"step": 600, "loss": 0.01, "accuracy": 0.9, "digest": "d"}
STATUS = {"checkpoint": {"latest": {"step": 600}}, "attempts": [{"attempt": 1, "cause": "Succeeded"}]}
DISASTER = proof.Disaster("a node powered off", at_step=480, committed=400, resumed_from=400, seconds_lost=19.0)


def job() -> Job:
    parts = tuple(manifests.CommitPart(slot=f"0-{n}", object="o", generation=1, crc32c=2, bytes=50) for n in (0, 1))
    made = manifests.Commit(run=3, step=600, attempt=3, job_uid="u", committed_at="2026-03-01T12:00:00Z", parts=parts)
    document = msgspec.json.decode(msgspec.json.encode(made))
    bucket = SimpleNamespace(name="holdfast", document=lambda name: document)
    fake: Any = SimpleNamespace(
        lab=SimpleNamespace(bucket=bucket), newest_commit=lambda: Commit(3, 600, "p/commit.json"), status=lambda: STATUS
    )
    return cast(Job, fake)


def test_the_proof_tells_the_last_manifest() -> None:
    text = "\n".join(proof.lines(job(), FINAL, FINAL, [DISASTER]))
    assert "run 3, attempt 3, step 600, parts of 0-0, 0-1, 100 bytes" in text
    assert "80 steps and 19 s lost" in text
    assert "NOT EQUAL" not in text


def test_another_result_or_a_lost_commit_fails_the_demo() -> None:
    proof.check(FINAL, FINAL, [DISASTER], STATUS)
    with pytest.raises(Problem, match="parameters differ"):
        proof.check({**FINAL, "digest": "e"}, FINAL, [DISASTER], STATUS)
    behind = proof.Disaster("x", at_step=480, committed=400, resumed_from=300, seconds_lost=1.0)
    with pytest.raises(Problem, match="a commit was lost"):
        proof.check(FINAL, FINAL, [behind], STATUS)
