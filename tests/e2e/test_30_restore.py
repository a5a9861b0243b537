"""Where an attempt starts: a damaged commit is passed over by all workers, and an order is served once."""

from __future__ import annotations

from functools import partial

import pytest

from deploy.demo.lab import REPLY_S, Lab
from tests.e2e.harness import bit_rot, promises
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.runs import Run, Runs
from tests.e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator_under_fire")


def _is_told(run: Run, name: str) -> bool:
    items = run.job.lab.core.list_namespaced_event(run.job.namespace, _request_timeout=REPLY_S).items
    own = [item for item in items if item.involved_object.name == run.job.name]
    return any(item.reason == "RestoreFellBack" and name in str(item.message) for item in own)


def _harm(lab: Lab, run: Run, harm: str) -> tuple[int, str]:
    """Harm worker 1's part of the newest commit; returns the step of the one before, and the object's name."""
    commits = lab.bucket.commits(run.job.prefix())
    newest, older = commits[-1], commits[-2]
    # Worker 0 has nothing to complain of.
    part = next(part for part in lab.bucket.parts(newest) if part["slot"] == "0-1")
    file = max(part["files"], key=lambda entry: int(entry["size"]))
    harmed = f"{run.job.prefix()}/{file['object']}"
    if harm == "bytes":
        bit_rot.flip_a_byte(lab, harmed)
    else:
        lab.bucket.delete(harmed)
    return older.step, str(file["object"])


def test_damaged_part_makes_both_workers_fall_back(lab: Lab, runs: Runs) -> None:
    """One job finds wrong bytes, another one finds an object missing."""
    started = {harm: runs.plain(harm, workers=2, STEPS=60, STEP_SECONDS=0.3) for harm in ("bytes", "absent")}
    for run in started.values():
        run.committed(20, within_s=120)
        run.job.patch_spec({"suspend": True})
    expected = {}
    for harm, run in started.items():
        run.phase("Suspended", within_s=90)
        expected[harm] = _harm(lab, run, harm)
        run.job.patch_spec({"suspend": False})
    for harm, run in started.items():
        older, name = expected[harm]
        run.attempt(2, within_s=120)
        assert run.restored_steps(2) == [older] * 2
        told = f"an event of {harm} names {name}"
        until(told, partial(_is_told, run, name), within_s=60, explain=run.explain)
        assert name in run.job.condition("Restored")["message"]
    for run in started.values():
        status = run.phase("Succeeded", within_s=120)
        assert [line["state"] for line in run.job.finals()] == [state_after(60)] * 2
        assert status["checkpoint"]["latest"]["step"] == 60
        promises.at_most_one(run.job, run.history)


def test_order_to_start_from_a_step_is_served_once(lab: Lab, runs: Runs) -> None:
    """Three lives of one name and prefix: a first, one that is told where to start and killed later, a last."""
    keep = {"checkpoint": {"retention": {"keepLast": 10}}}
    first = runs.plain("lives", keep, STEPS=40, STEP_SECONDS=0.05)
    first.succeeded(within_s=120)
    first.job.delete()
    first.gone(within_s=60)

    order = {"checkpoint": {"retention": {"keepLast": 10}, "restore": {"policy": "Step", "step": 20}}}
    second = runs.plain("lives", order, STEPS=60, STEP_SECONDS=0.4)
    (pod,) = second.attempt(1, within_s=90)
    assert second.restored_steps(1) == [20]
    second.step(35, within_s=60)
    second.committed(30, within_s=30)
    second.kill_trainer(pod)
    second.attempt(2, within_s=120)
    # Not 20 again, and not the 40 of the life before, which this one has turned away from.
    (ordered, _, _), (_, _, after) = lab.bucket.rounds(second.job.prefix())[-2:]
    (start,) = second.restored_steps(2)
    assert start == after["commit"]["step"] >= 30
    assert after["commit"]["run"] == ordered
    second.phase("Succeeded", within_s=120)
    assert [line["state"] for line in second.job.finals()] == [state_after(60)]
    assert second.row(1)["cause"] == "WorkerFailed"
    assert second.row(1)["exitCode"] == 137
    promises.check(second.job, runs.history)
    second.job.delete()
    second.gone(within_s=60)

    last = runs.plain("lives", keep, STEPS=70, STEP_SECONDS=0.05)
    last.phase("Succeeded", within_s=120)
    assert last.restored_steps(1) == [60]
    assert [line["state"] for line in last.job.finals()] == [state_after(70)]
