"""What accelerator and capacity mean for pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.accelerators import gpu
from holdfast.accelerators.placement import Shape, placement
from holdfast.accelerators.topology import TopologyError
from holdfast.accelerators.tpu import CATALOGUE
from holdfast.api.accelerator import GPU_COUNTS, V6E_TOPOLOGIES, Accelerator, Generation, GpuType
from holdfast.api.capacity import Capacity, CapacityMode
from tests.e2e.admission import accepted, refused

ON_DEMAND = Capacity(mode=CapacityMode.ON_DEMAND)
SPOT = Capacity(mode=CapacityMode.SPOT)
NOT_SPOT = {"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}
TPU_TOLERATION = {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}


def _placed(accelerator: dict[str, Any], capacity: Capacity = ON_DEMAND) -> Shape:
    return placement(Accelerator.model_validate(accelerator), capacity)


def test_processors_of_any_architecture() -> None:
    assert _placed({"cpu": {"workers": 3}}) == Shape(slices=1, hosts_per_slice=3, node_expressions=(NOT_SPOT,))


def test_arm_is_selected_and_its_taint_tolerated() -> None:
    shape = _placed({"cpu": {"arch": "Arm64", "machineFamily": "c4a"}})
    assert shape.node_selector == {"kubernetes.io/arch": "arm64", "cloud.google.com/machine-family": "c4a"}
    assert shape.tolerations == (
        {"key": "kubernetes.io/arch", "operator": "Equal", "value": "arm64", "effect": "NoSchedule"},
    )


def test_amd_is_selected() -> None:
    shape = _placed({"cpu": {"arch": "Amd64"}})
    assert shape.node_selector == {"kubernetes.io/arch": "amd64"}
    assert shape.tolerations == ()


def test_spot_is_selected_and_its_taint_tolerated() -> None:
    shape = _placed({"cpu": {}}, SPOT)
    assert shape.node_selector == {"cloud.google.com/gke-spot": "true"}
    assert shape.tolerations == (
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    )
    assert shape.node_expressions == ()


def test_a_slice_of_v6e() -> None:
    assert _placed({"tpu": {"generation": "v6e", "topology": "4x4"}}) == Shape(
        slices=1,
        hosts_per_slice=4,
        chips_per_host=4,
        topology="4x4",
        resources={"google.com/tpu": "4"},
        node_selector={
            "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
            "cloud.google.com/gke-tpu-topology": "4x4",
        },
        node_expressions=(NOT_SPOT,),
        tolerations=(TPU_TOLERATION,),
    )


@pytest.mark.parametrize(("chips_per_host", "hosts", "count"), [(None, 2, "4"), (4, 2, "4"), (8, 1, "8")])
def test_where_the_shape_leaves_a_choice_the_host_is_selected(
    chips_per_host: int | None, hosts: int, count: str
) -> None:
    shape = _placed({"tpu": {"generation": "v6e", "topology": "2x4", "chipsPerHost": chips_per_host}}, SPOT)
    assert shape.hosts_per_slice == hosts
    assert shape.resources == {"google.com/tpu": count}
    assert shape.node_selector == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
        "cloud.google.com/gke-tpu-topology": "2x4",
        "cloud.google.com/gke-accelerator-count": count,
        "cloud.google.com/gke-spot": "true",
    }


def test_a_slice_of_v5p() -> None:
    shape = _placed({"tpu": {"generation": "v5p", "topology": "4x4x8"}})
    assert (shape.workers, shape.chips) == (32, 128)
    assert shape.node_selector["cloud.google.com/gke-tpu-accelerator"] == "tpu-v5p-slice"


@given(st.sampled_from(V6E_TOPOLOGIES), st.sampled_from([ON_DEMAND, SPOT]))
def test_each_host_has_a_machine_type_and_asks_for_all_its_chips(topology: str, capacity: Capacity) -> None:
    shape = _placed({"tpu": {"generation": "v6e", "topology": topology}}, capacity)
    machine = CATALOGUE[Generation.V6E].machine(shape.chips_per_host)
    assert machine is not None
    assert shape.resources == {"google.com/tpu": str(machine.chips)}
    assert shape.workers * shape.chips_per_host == shape.chips


@pytest.mark.parametrize("accelerator", [{}, {"cpu": {}, "tpu": {"generation": "v6e", "topology": "4x4"}}])
def test_none_or_two_kinds_are_refused(accelerator: dict[str, Any]) -> None:
    with pytest.raises(TopologyError, match="set exactly one of cpu, gpu and tpu"):
        _placed(accelerator)


@pytest.mark.parametrize("kind", GpuType)
def test_workers_with_gpus_take_their_type_and_tolerate_its_taint(kind: GpuType) -> None:
    assert _placed({"gpu": {"type": kind.value, "perWorker": 8, "workers": 3}}) == Shape(
        slices=1,
        hosts_per_slice=3,
        chips_per_host=8,
        resources={"nvidia.com/gpu": "8"},
        node_selector={"cloud.google.com/gke-accelerator": kind.value},
        node_expressions=(NOT_SPOT,),
        tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    )


def test_spot_gpus() -> None:
    shape = _placed({"gpu": {"type": "nvidia-h100-80gb", "perWorker": 4}}, SPOT)
    assert shape.node_selector["cloud.google.com/gke-spot"] == "true"
    assert [item["key"] for item in shape.tolerations] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]
    assert (shape.workers, shape.chips, shape.node_expressions) == (1, 4, ())


def test_what_the_api_server_allows_of_gpus_is_what_the_catalogue_knows() -> None:
    assert {kind: facts.counts for kind, facts in gpu.CATALOGUE.items()} == GPU_COUNTS


@given(st.sampled_from(["2x4", "4x4", "16x16"]), st.integers(2, 64))
def test_slices_multiply_the_hosts(topology: str, slices: int) -> None:
    one = _placed({"tpu": {"generation": "v6e", "topology": topology}})
    many = _placed({"tpu": {"generation": "v6e", "topology": topology, "slices": slices}})
    assert many == replace(one, slices=slices)
    assert (many.workers, many.chips) == (slices * one.workers, slices * one.chips)


def _of_hardware(case: accepted.Accepted | refused.Refused) -> dict[str, Any]:
    """Return the accelerator of a case without the processors of the good job that it replaces."""
    chosen = case.change.get("accelerator") or {}
    return {kind: fields for kind, fields in chosen.items() if kind != "cpu"}


_TAKEN = [case for case in accepted.SPECS if _of_hardware(case)]
_WORDS = ("v6e ", "v5p ", "A <= B", "larger topology", "several hosts", "40000 chips", "set perWorker")
_REFUSED = [case for case in refused.SPECS if any(word in case.message for word in _WORDS)]


@pytest.mark.parametrize("case", _TAKEN, ids=lambda case: case.name)
def test_what_the_api_server_takes_can_be_placed(case: accepted.Accepted) -> None:
    assert _placed(_of_hardware(case)).chips > 0


@pytest.mark.parametrize("case", _REFUSED, ids=lambda case: case.name)
def test_what_the_api_server_refuses_cannot_be_placed(case: refused.Refused) -> None:
    with pytest.raises(TopologyError):
        _placed(_of_hardware(case))
