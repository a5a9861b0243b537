"""Slots: the stable places of a gang, and the names that follow from them.

A slot is `(role, slice, host)`. The role `worker` is left out of names. Everything that must be found again is found by
owner UID and labels; the names here are only ever made, never parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.api import labels as names

WORKER = "worker"
CLAIM = "checkpoints"


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One place of the gang: host number `host` (from 0) of slice number `slice` (from 0)."""

    slice: int
    host: int
    role: str = WORKER

    @property
    def name(self) -> str:
        """Return the slot's name, stable over attempts: `<slice>-<host>`."""
        base = f"{self.slice}-{self.host}"
        return base if self.role == WORKER else f"{self.role}-{base}"

    def hostname(self, job: str) -> str:
        """Return the pod's host name, stable over attempts."""
        return f"{job}-{self.name}"

    def pod_name(self, job: str, attempt: int) -> str:
        """Return the name of the slot's pod in one attempt."""
        return f"{job}-{self.name}-{attempt}"

    def claim_name(self, job: str) -> str:
        """Return the name of the slot's claim, stable over attempts."""
        return f"{CLAIM}-{job}-{self.name}"

    def labels(self, job: str, job_uid: str, attempt: int) -> dict[str, str]:
        """Return the labels by which readers find the slot's pod of one attempt."""
        return {**self.lasting_labels(job, job_uid), names.ATTEMPT: str(attempt)}

    def lasting_labels(self, job: str, job_uid: str) -> dict[str, str]:
        """Return the labels by which readers find what the slot keeps over attempts."""
        return {
            names.MANAGED_BY: names.MANAGED_BY_VALUE,
            names.JOB_NAME: job,
            names.JOB_UID: job_uid,
            names.ROLE: self.role,
            names.SLICE: str(self.slice),
            names.HOST: str(self.host),
        }


def gang(slices: int, hosts_per_slice: int) -> Iterator[Slot]:
    """Yield every worker slot, slice by slice, host 0 first."""
    for number in range(slices):
        for host in range(hosts_per_slice):
            yield Slot(number, host)
