"""Lean pods are equal to those that were decoded, and much smaller together."""

from __future__ import annotations

import tracemalloc

import msgspec
import orjson

from holdfast.app.lean import LAST_APPLIED, SPECS_REMEMBERED, LeanObjects, LeanPods
from holdfast.app.watched import identify
from holdfast.cluster.cache import Cache
from holdfast.cluster.objects import Kind
from holdfast.cluster.pages import Decoding
from holdfast.planning.observed import CustomObject, Pod
from holdfast.planning.plan import PODS
from tests.bench.memory_of_cache import pod

_pod = msgspec.json.Decoder(Pod)


def payloads(count: int) -> list[bytes]:
    return [orjson.dumps(pod(number, 1000 + number, running=number % 2 == 0)) for number in range(count)]


def test_a_lean_pod_is_an_equal_one() -> None:
    lean = LeanPods()
    for payload in [b"{}", *payloads(200)]:
        assert lean(_pod.decode(payload)) == _pod.decode(payload)


def test_a_pod_is_equal_field_by_field_whatever_fields_there_are() -> None:
    """A field that is added to a projection and forgotten here would be lost from every cached pod."""
    whole = _pod.decode(payloads(1)[0])
    held = LeanPods()(whole)
    for part in ("metadata", "spec", "status"):
        for field in getattr(whole, part).__struct_fields__:
            assert getattr(getattr(held, part), field) == getattr(getattr(whole, part), field), field
    assert Pod.__struct_fields__ == ("metadata", "spec", "status")


def test_what_is_equal_is_held_once_and_not_for_ever() -> None:
    lean = LeanPods()
    # Ten hosts apart: of one gang and one second.
    one, other = (lean(_pod.decode(payload)) for payload in payloads(11)[::10])
    assert one.metadata.owner_references is other.metadata.owner_references
    assert one.spec.node_selector is other.spec.node_selector
    assert one.status.conditions is other.status.conditions
    assert one.status.container_statuses is other.status.container_statuses
    for payload in payloads(300):
        lean(_pod.decode(payload))
    lean._held |= dict.fromkeys(range(50_000))
    lean(_pod.decode(payloads(1)[0]))
    assert len(lean._held) < 100


def test_a_cached_pod_takes_less_than_three_kilobytes() -> None:
    found = payloads(1280)
    decoding = Decoding(Kind(PODS, Pod, identify, LeanPods()))
    cache: Cache[Pod] = Cache(identify, {"uid": lambda item: (item.metadata.uid,)})
    tracemalloc.start()
    try:
        for payload in found:
            cache.upsert(decoding.decode(payload))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) == 1280
    assert held / 1280 < 3000, f"{held / 1280:.0f} bytes a pod: 50,000 must fit in 200 MB beside everything else"


def job(number: int, **metadata: object) -> CustomObject:
    document = {
        "metadata": {"name": f"j-{number}", "annotations": {"holdfast.dev/checkpoint-now": "1"}, **metadata},
        "spec": {"template": {"spec": {"containers": [{"name": "trainer", "image": "x"}]}}, "form": number % 2},
        "status": {"phase": "Running"},
    }
    return msgspec.json.decode(orjson.dumps(document), type=CustomObject)


def test_a_lean_object_is_an_equal_one_and_has_the_spec_of_others_of_its_form() -> None:
    lean = LeanObjects()
    found = [lean(job(number)) for number in range(4)]
    assert found == [job(number) for number in range(4)]
    assert found[0].spec is found[2].spec
    assert found[1].spec is found[3].spec
    assert found[0].spec is not found[1].spec
    assert CustomObject.__struct_fields__ == ("metadata", "spec", "status"), "a further one would be lost here"


def test_what_kubectl_keeps_for_itself_is_dropped_and_nothing_else() -> None:
    notes = {LAST_APPLIED: "much", "holdfast.dev/checkpoint-now": "1"}
    assert LeanObjects()(job(1, annotations=notes)) == job(1)


def test_specs_are_not_remembered_for_ever() -> None:
    lean = LeanObjects()
    for number in range(SPECS_REMEMBERED + 10):
        lean(CustomObject(spec={"form": number}))
    assert len(lean._specs) <= SPECS_REMEMBERED
