"""Topology arithmetic: what exists, and how many chips and hosts it has."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.accelerators.topology import TopologyError, host_sizes, read
from holdfast.accelerators.tpu import CATALOGUE, V5P, V6E, TpuFacts

_CUBE_SIDES = st.integers(min_value=1, max_value=12).map(lambda cubes: cubes * 4)


@st.composite
def v5p_shapes(draw: st.DrawFn) -> str:
    """Shapes of v5p made of cubes."""
    sides = sorted(
        draw(st.tuples(_CUBE_SIDES, _CUBE_SIDES, _CUBE_SIDES).filter(lambda s: math.prod(s) <= V5P.max_chips))
    )
    return "x".join(map(str, sides))


@given(v5p_shapes())
def test_hosts_times_chips_per_host_is_chips_of_v5p(shape: str) -> None:
    found = read(V5P, shape)
    assert found.hosts * found.chips_per_host == found.chips == math.prod(map(int, shape.split("x")))
    assert found.text == shape
    assert found.chips % 64 == 0
    assert found.hosts % 16 == 0


@pytest.mark.parametrize("facts", CATALOGUE.values(), ids=lambda facts: facts.generation.value)
def test_hosts_times_chips_per_host_is_chips_of_all_that_is_listed(facts: TpuFacts) -> None:
    for shape in facts.topologies:
        dimensions = tuple(map(int, shape.split("x")))
        assert len(dimensions) == facts.dimensions
        for size in host_sizes(facts, dimensions):
            found = read(facts, shape, size)
            assert found.hosts * size == found.chips <= facts.max_chips
            assert found.single_host == (found.chips == size)
            # A slice of several hosts is made of machines with 4 chips.
            assert found.single_host or size == 4


@pytest.mark.parametrize(
    ("facts", "shape", "chips_per_host", "chips", "hosts"),
    [
        (V6E, "1x1", None, 1, 1),
        (V6E, "2x2", None, 4, 1),
        (V6E, "2x4", None, 8, 2),
        (V6E, "2x4", 4, 8, 2),
        (V6E, "2x4", 8, 8, 1),
        (V6E, "4x4", None, 16, 4),
        (V6E, "16x16", None, 256, 64),
        (V5P, "2x2x1", None, 4, 1),
        (V5P, "2x2x2", None, 8, 2),
        (V5P, "2x4x4", None, 32, 8),
        (V5P, "4x4x8", None, 128, 32),
        (V5P, "16x16x24", None, 6144, 1536),
        (V5P, "16x20x28", None, 8960, 2240),
    ],
)
def test_sizes(facts: TpuFacts, shape: str, chips_per_host: int | None, chips: int, hosts: int) -> None:
    found = read(facts, shape, chips_per_host)
    assert (found.chips, found.hosts) == (chips, hosts)


@pytest.mark.parametrize(
    ("facts", "shape"),
    [
        (V6E, "3x3"),
        (V6E, "4x2"),
        (V6E, "32x32"),
        (V6E, "4x4x4"),
        (V6E, ""),
        (V6E, "4 x 4"),
        (V5P, "4x4"),
        (V5P, "8x4x4"),
        (V5P, "4x4x6"),
        (V5P, "0x4x4"),
        (V5P, "04x4x4"),
        (V5P, "4x4x4x4"),
        (V5P, "16x20x32"),
        (V5P, "2x2x8"),
        (V5P, "٤x٤x٤"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(facts: TpuFacts, shape: str) -> None:
    with pytest.raises(TopologyError, match=f"{facts.generation.value} has no topology") as caught:
        read(facts, shape)
    assert facts.topologies[0] in str(caught.value)
    assert ("multiple of 4" in str(caught.value)) == (facts is V5P)


@pytest.mark.parametrize(
    ("facts", "shape", "chips_per_host", "allowed"),
    [
        (V6E, "1x1", 4, "1"),
        (V6E, "2x2", 8, "4"),
        (V6E, "2x4", 1, "4 or 8"),
        (V6E, "4x4", 8, "4"),
        (V5P, "4x4x4", 8, "4"),
    ],
)
def test_hosts_that_do_not_exist_are_refused(facts: TpuFacts, shape: str, chips_per_host: int, allowed: str) -> None:
    with pytest.raises(TopologyError, match=f"or set it to {allowed}$"):
        read(facts, shape, chips_per_host)
