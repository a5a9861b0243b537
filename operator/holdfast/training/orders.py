"""What the sidecars of a running gang are told: a new cadence, and "checkpoint now".

An order is repeated until its sidecar acknowledges it, so nothing has to be remembered here. A sidecar that has
restarted forgets what it acknowledged and carries an order out once more, which does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from holdfast.api import labels as names
from holdfast.api.wire import Command, Report
from holdfast.planning.observed import Pod
from holdfast.training.view import View

# How long a trainer may take to write a checkpoint that was asked for.
_DEADLINE: Final = timedelta(minutes=10)
_CADENCE: Final = "cadence"


def standing(view: View) -> Mapping[str, tuple[Command, ...]]:
    """Return the orders that are still to be acknowledged, by pod UID."""
    if view.spec.checkpoint is None:
        return {}
    found: dict[str, tuple[Command, ...]] = {}
    for pod in view.current.values():
        report = view.report(pod)
        if report is None or report.role != "Sidecar":
            continue
        orders = (*_cadence(view, pod, report), *_checkpoint(view, report))
        if orders:
            found[pod.metadata.uid] = orders
    return found


def _cadence(view: View, pod: Pod, report: Report) -> tuple[Command, ...]:
    """Tell the cadence where it is not the one that the pod was made with, or was told last."""
    assert view.spec.checkpoint is not None
    wanted = view.spec.checkpoint.cadence.every_steps
    told = [item.split("-")[1] for item in report.acknowledged if item.startswith(f"{_CADENCE}-")]
    current = told[-1] if told else pod.metadata.annotations.get(names.EVERY_STEPS, "")
    if current == str(wanted):
        return ()
    identity = f"{_CADENCE}-{wanted}-{view.job.metadata.generation}"
    return (Command(id=identity, kind="Cadence", deadline=_deadline(view), every_steps=wanted),)


def _checkpoint(view: View, report: Report) -> tuple[Command, ...]:
    """Pass on `kubectl annotate trainingjob NAME holdfast.dev/checkpoint-now=<any new word>`."""
    word = view.job.metadata.annotations.get(names.CHECKPOINT_NOW, "")
    identity = f"checkpoint-{word[:63]}"
    if not word or identity in report.acknowledged:
        return ()
    return (Command(id=identity, kind="Checkpoint", deadline=_deadline(view)),)


def _deadline(view: View) -> str:
    return (view.now + _DEADLINE).strftime("%Y-%m-%dT%H:%M:%SZ")
