"""One TrainingJob as the planner sees it: parsed, with its pods sorted by what they are to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from holdfast.accelerators.placement import Shape, placement
from holdfast.api import durations
from holdfast.api.status import TrainingJobStatus
from holdfast.api.trainingjob import TrainingJobSpec
from holdfast.api.volume import Layout
from holdfast.api.wire import Report
from holdfast.planning.observed import CustomObject, Observed, Pod
from holdfast.planning.slots import Slot, gang


@dataclass(frozen=True, slots=True)
class View:
    """A job that exists and whose spec could be read.

    `current` holds the pods of the attempt in status, by slot name. `older` are this job's other pods, whose attempt is
    over. `foreign` are pods of a former job of the same name that are not gone yet.
    """

    observed: Observed
    now: datetime
    job: CustomObject
    spec: TrainingJobSpec
    status: TrainingJobStatus
    shape: Shape
    slots: tuple[Slot, ...]
    current: Mapping[str, Pod]
    older: tuple[Pod, ...]
    foreign: tuple[Pod, ...]

    @property
    def attempt(self) -> int:
        """Return the number of the current attempt; 0 before the first."""
        return self.status.attempt or 0

    @property
    def untold(self) -> bool:
        """Say whether nothing was ever written to the job's status."""
        return not self.job.status

    @property
    def uid(self) -> str:
        """Return the job's UID."""
        return self.job.metadata.uid

    @property
    def flush_timeout_s(self) -> float:
        """Return how long a pod may take to upload what is complete."""
        checkpoint = self.spec.checkpoint
        return durations.seconds(checkpoint.flush_timeout) if checkpoint else 30.0

    @property
    def node_lost_timeout(self) -> timedelta:
        """Return how long a node may be out of reach before its pods are given up."""
        return timedelta(seconds=durations.seconds(self.spec.recovery.node_lost_timeout))

    @property
    def shares_volume(self) -> bool:
        """Say whether all workers write to one volume, so that the first slot alone restores and uploads."""
        checkpoint = self.spec.checkpoint
        return checkpoint is not None and checkpoint.volume.layout is Layout.SHARED

    def report(self, pod: Pod) -> Report | None:
        """Return the newest report of a pod, or None."""
        received = self.observed.reports.get(pod.metadata.uid)
        return received.report if received else None


def look(observed: Observed, job: CustomObject, now: datetime) -> View:
    """Read the spec and sort the pods. Raises `ValueError` where the spec or status cannot be read."""
    spec, shape = _spec(msgspec.json.encode(job.spec))
    status = _status(msgspec.json.encode(job.status))
    current, older = _sorted(observed.pods, job.metadata.uid, status.attempt or 0)
    return View(
        observed=observed,
        now=now,
        job=job,
        spec=spec,
        status=status,
        shape=shape,
        slots=_slots(shape.slices, shape.hosts_per_slice),
        current=current,
        older=older,
        foreign=tuple(pod for pod in observed.pods if pod.metadata.controller_uid != job.metadata.uid),
    )


def with_status(view: View, status: TrainingJobStatus) -> View:
    """Return the view as it would be with another status."""
    current, older = _sorted(view.observed.pods, view.uid, status.attempt or 0)
    return replace(view, status=status, current=current, older=older)


def _sorted(pods: Iterable[Pod], uid: str, attempt: int) -> tuple[Mapping[str, Pod], tuple[Pod, ...]]:
    """Return a job's pods of one attempt by slot name, and its other ones."""
    own = [pod for pod in pods if pod.metadata.controller_uid == uid]
    current = {pod.slot: pod for pod in own if pod.attempt == attempt}
    return current, tuple(pod for pod in own if pod.attempt != attempt)


# Most passes see the spec and the status that the one before saw, and hundreds of jobs are often of one form. What is
# kept is told apart by its whole text, cannot be changed, and is a few megabytes at most.


@lru_cache(maxsize=256)
def _spec(document: bytes) -> tuple[TrainingJobSpec, Shape]:
    spec = TrainingJobSpec.model_validate(msgspec.json.decode(document))
    return spec, placement(spec.accelerator, spec.capacity)


@lru_cache(maxsize=512)
def _status(document: bytes) -> TrainingJobStatus:
    return TrainingJobStatus.model_validate(msgspec.json.decode(document))


@lru_cache(maxsize=32)
def _slots(slices: int, hosts_per_slice: int) -> tuple[Slot, ...]:
    return tuple(gang(slices, hosts_per_slice))
