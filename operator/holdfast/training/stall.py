"""`recovery.stallTimeout`: a gang whose steps stand still for that long is restarted.

Only what is known is judged. A worker's step has stood still for as long as its own sidecar says, at the time of its
report: what the trainer did since then is not held against it. A gang is not judged where nobody has told a step in
this attempt (it may be compiling, or not use the client), or while a sidecar beside a running trainer is not heard.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from holdfast.api import durations
from holdfast.api import labels as names
from holdfast.api.reasons import Reason
from holdfast.planning.observed import Pod, Received
from holdfast.planning.plan import Plan
from holdfast.training import stopping
from holdfast.training.endings import Ending
from holdfast.training.view import View

# How long after the moment the report that tells of the stall is looked for again; heartbeats come every 30 s.
_AGAIN: Final = timedelta(seconds=5)
# More than this is no age of a step; reports are a tenant's word.
_LONGEST_S: Final = 10 * 365 * 86400.0


def ending(view: View) -> Ending | None:
    """Return the end of an attempt whose gang stands still, None where it does not or may not be judged."""
    limit, still = _limit(view), _still(view)
    if limit is None or not still or any(known < limit for known, _ in still):
        return None
    return Ending(
        Reason.STALLED,
        f"No worker has reported another step for {durations.text(min(known for known, _ in still).total_seconds())}; "
        f"recovery.stallTimeout is {view.spec.recovery.stall_timeout}.{_newest(view)}",
    )


def watched(view: View, plan: Plan) -> Plan:
    """Return the plan of a running gang with a look at the moment at which it will have stood still for too long."""
    limit = _limit(view)
    if limit is None:
        return plan
    left = max((limit - known - since for known, since in _still(view)), default=limit)
    looks = [max(left, _AGAIN).total_seconds()] + ([] if plan.requeue_after_s is None else [plan.requeue_after_s])
    return replace(plan, requeue_after_s=min(looks))


def _limit(view: View) -> timedelta | None:
    text = view.spec.recovery.stall_timeout
    return None if text is None else timedelta(seconds=durations.seconds(text))


def _still(view: View) -> list[tuple[timedelta, timedelta]]:
    """Return for every worker that has told a step how long it is known to stand still, and the time since that word.

    Empty where the gang may not be judged.
    """
    running = [pod for pod in view.current.values() if _trainer_runs(pod)]
    if len(view.current) < len(view.slots) or not running or not all(_heard(view, pod) for pod in running):
        return []
    found = []
    for pod in view.current.values():
        received = view.observed.reports.get(pod.metadata.uid)
        age = _age(received)
        if received is None or age is None:
            continue
        since = view.now - received.at
        # Where the trainer has ended no further word will come: nothing can have moved since.
        found.append((age, since) if _trainer_runs(pod) else (age + since, timedelta(0)))
    return found


def _heard(view: View, pod: Pod) -> bool:
    received = view.observed.reports.get(pod.metadata.uid)
    return received is not None and received.report.role == "Sidecar" and view.now - received.at <= stopping.SILENCE


def _age(received: Received | None) -> timedelta | None:
    seconds = received.report.step_age_s if received is not None else None
    return timedelta(seconds=seconds) if seconds is not None and 0 <= seconds <= _LONGEST_S else None


def _trainer_runs(pod: Pod) -> bool:
    trainer = pod.container(names.TRAINER)
    return trainer is not None and trainer.state.running is not None


def _newest(view: View) -> str:
    reports = (view.report(pod) for pod in view.current.values())
    steps = [report.progress.step for report in reports if report is not None and report.progress.step is not None]
    return f" The newest is step {max(steps)}." if steps else ""
