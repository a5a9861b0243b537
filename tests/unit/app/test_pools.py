"""Occupancy follows every version of every pod, whatever the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.accelerators.tpu import ACCELERATOR_LABEL
from holdfast.app.pools import STRANGER, PoolOccupancy
from holdfast.app.watched import identify
from holdfast.cluster.cache import Cache
from holdfast.planning.observed import Metadata, Node, Pod, PodSpec, PodStatus
from holdfast.training.pools import NODE_POOL

A, B = ("ns", "a"), ("ns", "b")
TPU = {ACCELERATOR_LABEL: "tpu-v6e-slice"}


def nodes() -> Cache[Node]:
    cache: Cache[Node] = Cache(identify)
    cache.upsert(Node(metadata=Metadata(name="n-1", resource_version="1", labels={NODE_POOL: "pool-1"})))
    cache.upsert(Node(metadata=Metadata(name="n-2", resource_version="1")))
    return cache


def pod(uid: str, *, node: str = "", pool: str = "", phase: str = "Running", tpu: bool = True) -> Pod:
    selector = (TPU if tpu else {}) | ({NODE_POOL: pool} if pool else {})
    return Pod(
        metadata=Metadata(uid=uid),
        spec=PodSpec(node_name=node, node_selector=selector),
        status=PodStatus(phase=phase),
    )


def test_a_pool_is_occupied_for_others_from_the_pin_or_the_binding_on() -> None:
    pools = PoolOccupancy(nodes())
    pools.saw(A, pod("1"), gone=False)
    assert set(pools.occupied_by_others(B)) == frozenset()
    pools.saw(A, pod("1", node="n-1"), gone=False)
    assert set(pools.occupied_by_others(B)) == {"pool-1"}
    assert set(pools.occupied_by_others(A)) == frozenset()
    pools.saw(A, pod("2", pool="pool-2"), gone=False)
    assert set(pools.occupied_by_others(B)) == {"pool-1", "pool-2"}


def test_it_is_free_when_the_last_pod_has_ended_or_gone() -> None:
    pools = PoolOccupancy(nodes())
    for uid in ("1", "2"):
        pools.saw(A, pod(uid, node="n-1"), gone=False)
    pools.saw(A, pod("1", node="n-1", phase="Failed"), gone=False)
    assert set(pools.occupied_by_others(B)) == {"pool-1"}
    pools.saw(A, pod("2", node="n-1"), gone=True)
    assert set(pools.occupied_by_others(B)) == frozenset()


def test_what_asks_for_no_accelerator_occupies_nothing() -> None:
    pools = PoolOccupancy(nodes())
    pools.saw(A, pod("1", node="n-1", tpu=False), gone=False)
    pools.saw(A, pod("2", node="n-2"), gone=False)
    pools.saw(A, pod("3", node="unknown"), gone=False)
    assert set(pools.occupied_by_others(B)) == frozenset()


steps = st.tuples(
    st.sampled_from([A, B]), st.sampled_from("123"), st.sampled_from(["", "n-1"]), st.booleans(), st.booleans()
)


@given(st.lists(steps, max_size=30))
def test_the_count_always_equals_a_search(history: list[tuple[tuple[str, str], str, str, bool, bool]]) -> None:
    pools = PoolOccupancy(nodes())
    alive: dict[str, tuple[tuple[str, str], bool]] = {}
    for key, number, node, ended, gone in history:
        uid = f"{key[1]}{number}"
        pools.saw(key, pod(uid, node=node, phase="Failed" if ended else "Running"), gone=gone)
        alive[uid] = (key, bool(node) and not ended and not gone)
    for asker, other in ((A, B), (B, A)):
        held = any(key == other and holds for key, holds in alive.values())
        assert set(pools.occupied_by_others(asker)) == ({"pool-1"} if held else frozenset())


def test_a_pin_alone_occupies_a_pool() -> None:
    pools = PoolOccupancy(nodes())
    pools.saw(A, pod("1", pool="pool-1", tpu=False), gone=False)
    assert set(pools.occupied_by_others(B)) == {"pool-1"}


def test_what_is_planned_is_occupied_before_any_pod_is_seen() -> None:
    pools = PoolOccupancy(nodes())
    pools.plan(A, ("pool-1", "pool-2"))
    assert set(pools.occupied_by_others(B)) == {"pool-1", "pool-2"}
    assert set(pools.occupied_by_others(A)) == frozenset()
    assert pools.plan(A, ("pool-2",)), "pool-1 was given up"
    assert set(pools.occupied_by_others(B)) == {"pool-2"}
    pools.saw(A, pod("2", pool="pool-2"), gone=False)
    assert not pools.plan(A, ()), "its pods hold it by now"
    pools.saw(A, pod("2", pool="pool-2"), gone=True)
    assert set(pools.occupied_by_others(B)) == frozenset()


def test_plans_are_forgotten_with_the_term_and_pods_are_not() -> None:
    pools = PoolOccupancy(nodes())
    pools.saw(A, pod("1", node="n-1"), gone=False)
    pools.plan(A, ("pool-2",))
    pools.forget_plans()
    assert set(pools.occupied_by_others(B)) == {"pool-1"}


def test_a_pod_counts_when_its_node_is_seen_after_it() -> None:
    cache: Cache[Node] = Cache(identify)
    pools = PoolOccupancy(cache)
    pools.saw(A, pod("1", node="n-1"), gone=False)
    cache.upsert(Node(metadata=Metadata(name="n-1", resource_version="1", labels={NODE_POOL: "pool-1"})))
    pools.saw_node("n-1")
    assert set(pools.occupied_by_others(B)) == {"pool-1"}


def test_who_holds_a_pool_is_named_a_stranger_before_anybody_of_ours() -> None:
    pools = PoolOccupancy(nodes())
    pools.saw(A, pod("1", node="n-1"), gone=False)
    assert pools.occupied_by_others(B) == {"pool-1": "TrainingJob ns/a"}
    pools.saw((STRANGER, "x/theirs"), pod("2", node="n-1"), gone=False)
    assert pools.occupied_by_others(B) == {"pool-1": "pod x/theirs"}
    assert pools.occupied_by_others(A) == {"pool-1": "pod x/theirs"}
    pools.plan(B, ("pool-2",))
    assert pools.occupied_by_others(A)["pool-2"] == "TrainingJob ns/b"


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.frozensets(st.sampled_from(["pool-1", "pool-2"]))), max_size=20),
    st.booleans(),
)
def test_what_is_planned_is_known_by_pool_as_it_is_by_owner(
    history: list[tuple[tuple[str, str], frozenset[str]]], forgotten: bool
) -> None:
    pools = PoolOccupancy(nodes())
    last: dict[tuple[str, str], frozenset[str]] = {}
    for key, planned in history:
        pools.plan(key, planned)
        last[key] = planned
    if forgotten:
        pools.forget_plans()
        last.clear()
    for asker, other in ((A, B), (B, A)):
        held = pools.occupied_by_others(asker)
        assert set(held) == last.get(other, frozenset())
        assert len(held) == len(set(held))
    assert pools.known() == frozenset().union(*last.values())
