"""The first attempt of a job, which is not written ahead.

An attempt's number is written to status before its first pod, so that no two attempts are ever given the same number.
There is one attempt for which its absence says as much: where nothing was ever written, the next is attempt 1. So the
first attempt is taken for written, and status tells of it together with the first thing worth telling: that all
workers run, what they wait for, or how it ended (docs/decisions/0014).
"""

from __future__ import annotations

from typing import Final

from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.planning.injection import runs_as_root
from holdfast.training import suspension
from holdfast.training.draft import Draft
from holdfast.training.view import View, with_status

FIRST: Final = 1
_AS_ROOT: Final = (
    "The template sets no user, so restore and sidecar run as root with CHOWN, DAC_OVERRIDE and FOWNER only."
)


def begun(view: View) -> bool:
    """Say whether status knows of no attempt yet while pods of the first one exist.

    Where other things were told, these pods come late: their creates were sent when nothing was.
    """
    return view.attempt == 0 and not view.status.attempts and any(pod.attempt == FIRST for pod in view.older)


def assume(view: View) -> View:
    """Return the view of a job as if its first attempt had been written when its first pod was created."""
    draft = Draft(view)
    open_attempt(view, draft, FIRST)
    if not view.spec.suspend:
        suspension.lift(view, draft)
    draft.condition(ConditionType.RUNNING, False, Reason.AWAITING_PODS)
    return with_status(view, draft.status())


def open_attempt(view: View, draft: Draft, number: int) -> None:
    """Open an attempt of a job that has none which runs: its number, its row, and that the job is accepted."""
    made = [pod.metadata.creation_timestamp for pod in view.older if pod.attempt == number]
    draft.open_attempt(number, min((at for at in made if at is not None), default=view.now))
    draft.condition(ConditionType.ACCEPTED, True, Reason.ACCEPTED)
    if view.spec.checkpoint is None:
        return
    if runs_as_root(view.job.spec["template"]["spec"]):
        draft.condition(ConditionType.SIDECAR_IDENTITY, False, Reason.SIDECAR_RUNS_AS_ROOT, _AS_ROOT)
    else:
        draft.condition(ConditionType.SIDECAR_IDENTITY, True, Reason.SIDECAR_RUNS_AS_TRAINER)
