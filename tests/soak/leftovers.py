"""What an operator still remembers when every job is gone: nothing."""

from __future__ import annotations

from functools import partial

from deploy.demo import installation
from deploy.demo.lab import Lab
from tests.e2e.harness.waiting import TimedOut, until
from tests.soak.usage import ask

# Nothing of these may be left, summed over their labels.
EMPTY = (
    "holdfast_reporting_pods",
    "holdfast_commanded_pods",
    "holdfast_expecting_objects",
    "holdfast_queue_depth",
    "holdfast_queue_backing_off",
    "holdfast_trainingjobs",
    "holdfast_trainingjobs_waiting",
    "holdfast_pending_bytes",
    "holdfast_report_connections",
    "holdfast_report_polls",
    "holdfast_answered_pods",
)
# And no object of these resources.
_CACHED = ('holdfast_watched_objects{resource="pods"}', 'holdfast_watched_objects{resource="trainingjobs"}')
_WITHIN_S = 90.0


def of_operators(lab: Lab) -> list[str]:
    """What is left in any replica, once the caches had time to see that the last pod is gone."""
    installation.wait_ready(lab)
    found: list[str] = []
    for pod in installation.operator_pods(lab):
        name = str(pod.metadata.name)
        try:
            until(f"{name} is empty", partial(_is_empty, lab, name), within_s=_WITHIN_S)
        except TimedOut:
            found.append(f"{name} still remembers {', '.join(left(ask(lab, name, 'metrics')))}")
    return found


def _is_empty(lab: Lab, name: str) -> bool:
    return not left(ask(lab, name, "metrics"))


def left(metrics: str) -> list[str]:
    """The series that should be 0 and are not."""
    found: dict[str, float] = {}
    for line in metrics.splitlines():
        name = line.partition(" ")[0].partition("{")[0]
        if name in EMPTY or line.startswith(_CACHED):
            found[name] = found.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
    missing = [name for name in EMPTY if name not in found]
    return [f"{name}={value:g}" for name, value in sorted(found.items()) if value] + [f"{name}=?" for name in missing]
