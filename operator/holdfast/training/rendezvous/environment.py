"""Chooses the rendezvous of a job and joins what the framework and the accelerator need."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.api.capacity import Framework
from holdfast.planning.slots import Slot
from holdfast.training.rendezvous import jax, tpu


@dataclass(frozen=True, slots=True)
class Gang:
    """The gang of one attempt: its job, how many hosts it has, and whether they are hosts of TPU slices."""

    job: str
    attempt: int
    slices: int
    hosts_per_slice: int
    framework: Framework
    on_tpu: bool

    @property
    def size(self) -> int:
        """Return the number of workers."""
        return self.slices * self.hosts_per_slice

    def index(self, slot: Slot) -> int:
        """Return the worker's number over all slices, from 0."""
        return slot.slice * self.hosts_per_slice + slot.host

    def address(self, slot: Slot) -> str:
        """Return the name under which the other workers find the slot: host name and Service."""
        return f"{slot.hostname(self.job)}.{self.job}"


def needs_names(framework: Framework, *, on_tpu: bool, hosts_per_slice: int) -> bool:
    """Say whether the workers need names on the network, and so a headless Service."""
    return framework is Framework.JAX or (on_tpu and hosts_per_slice > 1)


def environment(gang: Gang, slot: Slot) -> dict[str, str]:
    """Return the environment of the slot's trainer. The template cannot override it."""
    found: dict[str, str] = {}
    if gang.on_tpu and gang.hosts_per_slice > 1:
        hosts = [gang.address(Slot(slot.slice, host)) for host in range(gang.hosts_per_slice)]
        found |= tpu.environment(hosts, slot.host)
    if gang.on_tpu and gang.slices > 1:
        found |= tpu.multislice(gang.address(Slot(0, 0)), gang.attempt, gang.slices, slot.slice)
    if gang.framework is Framework.JAX:
        found |= jax.environment(gang.address(Slot(0, 0)), gang.attempt, gang.size, gang.index(slot))
    return found
