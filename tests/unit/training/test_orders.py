"""Orders to running sidecars: repeated until acknowledged, and only where there is something to tell."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.wire import Command
from holdfast.planning.observed import CustomObject, Pod
from holdfast.training.plan import plan
from tests.unit.training import builders as b


def annotated(pod: Pod, every: int) -> Pod:
    meta = msgspec.structs.replace(pod.metadata, annotations={"holdfast.dev/every-steps": str(every)})
    return msgspec.structs.replace(pod, metadata=meta)


def orders(every: int, acknowledged: tuple[str, ...] = (), word: str = "") -> tuple[Command, ...]:
    checkpoint: dict[str, Any] = {"destination": "gs://bucket/run", "cadence": {"everySteps": every}}
    job = b.job(b.attempt_status(), checkpoint=checkpoint)
    annotations = {"holdfast.dev/checkpoint-now": word} if word else {}
    meta = msgspec.structs.replace(job.metadata, annotations=annotations, generation=4)
    job = CustomObject(metadata=meta, spec=job.spec, status=job.status)
    pods = (annotated(b.running(0), 100), annotated(b.running(1), 100))
    reports = tuple(b.report(pod, acknowledged=acknowledged) for pod in pods)
    result = plan(b.observed(job, *pods, reports=reports, service=b.service()), b.NOW)
    return result.commands.get("pod-0-1-1", ())


def test_nothing_is_told_while_nothing_has_changed() -> None:
    assert orders(100) == ()


def test_a_new_cadence_is_told_until_it_is_acknowledged() -> None:
    told = orders(50)
    assert [(order.kind, order.every_steps) for order in told] == [("Cadence", 50)]
    assert orders(50, (told[0].id,)) == ()


def test_a_cadence_that_is_set_back_is_told_again() -> None:
    assert [order.every_steps for order in orders(100, ("cadence-50-3",))] == [100]


def test_checkpoint_now_is_an_annotation_and_is_served_once() -> None:
    told = orders(100, word="before-upgrade")
    assert [(order.kind, order.id) for order in told] == [("Checkpoint", "checkpoint-before-upgrade")]
    assert orders(100, ("checkpoint-before-upgrade",), word="before-upgrade") == ()
