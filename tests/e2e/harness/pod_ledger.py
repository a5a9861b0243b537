"""Which pods there were, when, in whose place: what the promise of at most one is judged by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

LABELS = "holdfast.dev/"

Happening = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, order=True)
class Place:
    """A worker's place in one attempt of a job."""

    job_uid: str
    slot: str
    attempt: int


@dataclass
class PodLedger:
    """Takes what happened to the pods of one namespace, in the order in which it happened."""

    uids: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    alive: dict[str, Place] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)

    def take(self, what: Happening, uid: str, place: Place, *, judge: bool = True) -> None:
        """Take note of one event. ``judge`` is false where it is not known what was there before."""
        self.uids[place].add(uid)
        if what == "DELETED":
            self.alive.pop(uid, None)
        elif uid not in self.alive:
            if judge:
                self.overlaps += _overlaps(place, self.alive.values())
            self.alive[uid] = place

    def problems(self) -> list[str]:
        """Each breach of the promise."""
        doubles = [f"{place} had {len(uids)} pods" for place, uids in sorted(self.uids.items()) if len(uids) > 1]
        return doubles + list(self.overlaps)

    def slots(self, job_uid: str, attempt: int) -> set[str]:
        """The workers of an attempt that had a pod."""
        return {place.slot for place in self.uids if (place.job_uid, place.attempt) == (job_uid, attempt)}


def place_of(pod: Any) -> Place:
    """The place that a pod's labels say."""
    labels = pod.metadata.labels
    slot = f"{labels[LABELS + 'slice']}-{labels[LABELS + 'host']}"
    return Place(labels[LABELS + "job-uid"], slot, int(labels[LABELS + "attempt"]))


def _overlaps(new: Place, alive: Iterable[Place]) -> list[str]:
    return [
        f"{new} was created while {old} was there"
        for old in alive
        if old.job_uid == new.job_uid and old.attempt != new.attempt
    ]
