"""Suspend, resume and deletion: what is complete is committed, and nobody waits for a trainer that does not listen."""

from __future__ import annotations

import time

from tests.e2e.harness import promises
from tests.e2e.harness.followed_log import FollowedLog
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Run, Runs
from tests.e2e.harness.waiting import until

_STOPPED_WITHIN_S = 60
# Big enough for the upload to be still under way when the stop comes.
_BYTES = 8_000_000


def test_suspend_and_resume(runs: Runs) -> None:
    run = runs.plain("pause", workers=2, STEPS=60, STEP_SECONDS=0.3, CLIENT=1)
    run.committed(10, within_s=120)
    run.job.patch_spec({"suspend": True})
    status = run.phase("Suspended", within_s=90)
    assert run.job.pods() == []
    stopped_at = run.job.committed()
    assert status["checkpoint"]["latest"]["step"] == stopped_at
    assert run.row(1)["cause"] == "Suspended"
    promises.check(run.job, runs.history)

    run.job.patch_spec({"suspend": False})
    status = run.succeeded(within_s=150)
    assert status["attempt"] == 2
    assert run.restored_steps(2) == [stopped_at] * 2
    assert [line["state"] for line in run.job.finals()] == [state_after(60)] * 2
    # A pause is no failure.
    assert not status.get("restarts")


def _deaf(runs: Runs, name: str) -> tuple[Run, FollowedLog]:
    change = {"checkpoint": {"flushTimeout": "10m"}}
    run = runs.plain(name, change, TERM="ignore", STEPS=1000, STEP_SECONDS=0.2, SIZE=_BYTES, STALL_AT=25)
    (pod,) = run.attempt(1, within_s=60)
    followed = FollowedLog(runs.lab, pod)
    run.step(20, within_s=60)
    return run, followed


def test_suspend_and_deletion_of_deaf_trainers(runs: Runs) -> None:
    """Both at the same time, each on a job of its own."""
    paused, paused_log = _deaf(runs, "deaf-pause")
    ended, ended_log = _deaf(runs, "deaf-end")
    prefix = ended.job.prefix()
    began = time.monotonic()
    paused.job.patch_spec({"suspend": True})
    ended.job.delete()
    paused.phase("Suspended", within_s=_STOPPED_WITHIN_S)
    ended.gone(within_s=_STOPPED_WITHIN_S)
    assert time.monotonic() - began < _STOPPED_WITHIN_S
    assert paused.job.pods() == []
    assert paused.job.committed() == paused_log.told("checkpoint")[-1]["step"]
    promises.check(paused.job, runs.history)

    newest = runs.lab.bucket.newest(prefix)
    assert newest is not None
    assert newest.step == ended_log.told("checkpoint")[-1]["step"]
    objects = {str(item["name"]): item for item in runs.lab.bucket.objects(f"{prefix}/")}
    promises.whole(runs.lab.bucket, newest, objects)
    until("the object is gone", lambda: not ended.job.exists(), within_s=10)
