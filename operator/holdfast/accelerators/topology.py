"""Topology arithmetic: how many chips and hosts a shape has, and whether it exists.

`chips` is the product of the dimensions, `hosts` is chips divided by the chips of a host, for every generation. A slice
on one host is one whose chips are all the host's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from holdfast.accelerators.tpu import TpuFacts

_FORM = re.compile(r"[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){1,2}")
_USUAL_CHIPS_PER_HOST = 4


class TopologyError(ValueError):
    """A topology that does not exist, or not on such hosts; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A slice's shape on hosts of a certain size."""

    dimensions: tuple[int, ...]
    chips_per_host: int

    @property
    def text(self) -> str:
        """Return the shape as labels write it, such as `4x4x8`."""
        return "x".join(map(str, self.dimensions))

    @property
    def chips(self) -> int:
        """Return the number of chips of a slice."""
        return math.prod(self.dimensions)

    @property
    def hosts(self) -> int:
        """Return the number of hosts of a slice."""
        return self.chips // self.chips_per_host

    @property
    def single_host(self) -> bool:
        """Say whether one host holds the whole slice."""
        return self.hosts == 1


def host_sizes(facts: TpuFacts, dimensions: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers of chips that a host of this shape may have, the usual one first.

    A slice of several hosts is made of machines with 4 chips. Machines with other numbers hold whole slices only.
    """
    chips = math.prod(dimensions)
    sizes = {machine.chips for machine in facts.machines}
    fitting = [size for size in sizes if size == chips or (size == _USUAL_CHIPS_PER_HOST and chips % size == 0)]
    return tuple(sorted(fitting))


def read(facts: TpuFacts, text: str, chips_per_host: int | None = None) -> Topology:
    """Return the topology that `text` names on hosts with that many chips (the usual number where None).

    Raises TopologyError with what to write instead.
    """
    dimensions = _dimensions(facts, text)
    sizes = host_sizes(facts, dimensions)
    chosen = sizes[0] if chips_per_host is None else chips_per_host
    if chosen not in sizes:
        allowed = " or ".join(map(str, sizes))
        raise TopologyError(
            f"{facts.generation.value} {text} has no hosts with {chosen} chips: leave chipsPerHost out, or set it to "
            f"{allowed}"
        )
    return Topology(dimensions, chosen)


def choices(facts: TpuFacts, topology: Topology) -> bool:
    """Say whether hosts of different sizes come in this shape, so that the shape alone does not tell a node."""
    return len(host_sizes(facts, topology.dimensions)) > 1


def _dimensions(facts: TpuFacts, text: str) -> tuple[int, ...]:
    if _FORM.fullmatch(text) and text.isascii():
        dimensions = tuple(map(int, text.split("x")))
        if text in facts.topologies or _is_made_of_cubes(facts, dimensions):
            return dimensions
    listed = ", ".join(facts.topologies)
    larger = (
        f", or AxBxC with A <= B <= C, each a multiple of {facts.cube}, and at most {facts.max_chips} chips"
        if facts.cube
        else ""
    )
    raise TopologyError(f"{facts.generation.value} has no topology {text!r}: use one of {listed}{larger}")


def _is_made_of_cubes(facts: TpuFacts, dimensions: tuple[int, ...]) -> bool:
    return (
        facts.cube > 0
        and len(dimensions) == facts.dimensions
        and all(side % facts.cube == 0 for side in dimensions)
        and list(dimensions) == sorted(dimensions)
        and math.prod(dimensions) <= facts.max_chips
    )
