"""The kinds that this operator serves. A further kind costs one line in `REGISTERED`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from holdfast.api import labels
from holdfast.cluster.objects import Key
from holdfast.planning.observed import Observed
from holdfast.planning.plan import TRAINING_JOBS, Plan, Resource
from holdfast.training.plan import plan as plan_training_job


class Wake(Protocol):
    """Wake one object, or with (None, None) every object that waits for something which may have come free."""

    def __call__(self, resource: Resource | None, key: Key | None, *, within_s: float = 0.0) -> None:
        """Have it planned soon; `within_s` says how long it may wait for more to happen."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One kind: where it is in the API, the label by which its children name it, and its planner."""

    resource: Resource
    name_label: str
    plan: Callable[[Observed, datetime], Plan]


REGISTERED = (Registration(TRAINING_JOBS, labels.JOB_NAME, plan_training_job),)
