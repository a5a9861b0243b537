"""Slices and node pools: whole ones only, all of a job or none, nobody's twice, and the same after every crash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.api import labels as names
from holdfast.planning.observed import NodeSpec
from holdfast.training.plan import plan
from holdfast.training.pools import NODE_POOL
from tests.unit.training import builders as b
from tests.unit.training.gangs_and_pools import HOSTS, KIND, TPU, World


def world(pools: int, **jobs: int) -> World:
    made = World()
    for number in range(pools):
        made.add_pool(f"p{number}")
    for name, slices in jobs.items():
        made.add_job(name, slices)
    return made


def bind_all(made: World) -> None:
    while any(made.bind(pod) for pod in list(made.pods)):
        pass


def rows(made: World, name: str) -> list[tuple[int, str]]:
    return [(row["attempt"], row.get("cause", "")) for row in made.jobs[name].status.get("attempts", ())]


def test_every_slice_gets_a_pool_of_its_own() -> None:
    made = world(4, a=3)
    made.settle("a")
    assert made.pools_of("a") == {0: {"p0"}, 1: {"p1"}, 2: {"p2"}}
    assert len(made.pods) == 3 * HOSTS


def test_the_pools_of_a_job_are_taken_all_or_none() -> None:
    made = world(4, a=3, b=3)
    made.settle("a")
    made.settle("b")
    assert made.pools_of("b") == {}, "one free pool is not enough, and held it would be lost for others"
    leaders = [pod for pod in made.pods if pod.startswith("b-")]
    assert leaders == ["b-0-0-1", "b-1-0-1"], "as many as pools are missing"
    bind_all(made)
    assert made.pools_of("b") == {}, "no leader takes a pool that exists"


def test_a_job_that_waits_starts_over_when_enough_pools_come_free() -> None:
    made = world(3, a=3, b=2, c=2)
    made.settle("a")
    for name in "bc":
        made.settle(name)
    made.wait(11)
    made.reconcile("b")
    status = made.jobs["b"].status
    assert status["reason"] == "AwaitingNodePool"
    assert "p0 is held by TrainingJob team/a; p1 is held by TrainingJob team/a" in status["message"]
    made.end_job("a")
    for name in "bc":
        made.settle(name)
    made.wait(21)
    for name in "cb":
        made.settle(name)
    assert rows(made, "b") == [(1, "PlacedAnew"), (2, "")]
    assert rows(made, "c") == [(1, "")], "the pools are spoken for: nothing is written for those who go on waiting"
    assert made.pools_of("b") == {0: {"p0"}, 1: {"p1"}}
    assert made.jobs["b"].status["restarts"] == 0


def test_the_next_attempt_has_its_pools_while_the_pods_of_the_one_before_go() -> None:
    made = world(1, a=1, b=1, c=1)
    for name in "abc":
        made.settle(name)
    made.end_job("a")
    made.settle("b")
    made.wait(21)
    ended = made.reconcile("b")
    stopping = made.reconcile("b")
    assert ended.write_ahead is not None
    assert ended.claims == stopping.claims == ("p0",)
    assert not made.reconcile("c").claims


def test_followers_go_where_their_leader_was_put() -> None:
    made = world(0, a=2)
    made.settle("a")
    assert sorted(made.pods) == ["a-0-0-1", "a-1-0-1"]
    made.add_pool("new-1")
    made.add_pool("new-2")
    bind_all(made)
    made.settle("a")
    bind_all(made)
    assert made.pools_of("a") == {0: {"new-1"}, 1: {"new-2"}}
    assert len(set(made.bound())) == 2
    assert len(list(made.bound())) == 2 * HOSTS


def test_a_pool_with_a_stranger_is_not_free_and_he_is_named() -> None:
    made = world(1, a=1)
    made.stranger("p0-1")
    made.settle("a")
    assert made.pools_of("a") == {}
    made.wait(11)
    made.reconcile("a")
    assert "p0 is held by pod x/p0-1" in made.jobs["a"].status["message"]
    made.stranger_leaves("p0-1")
    made.settle("a")
    made.wait(21)
    made.settle("a")
    bind_all(made)
    assert set(made.bound()) == {("p0", ("a", "0"))}


def test_a_stranger_that_wins_the_race_is_named_and_moved_away_from() -> None:
    made = world(2, a=1)
    made.settle("a")
    assert made.bind("a-0-0-1")
    made.stranger("p0-1")
    made.settle("a")
    assert rows(made, "a") == [], "two watches may differ for a moment"
    made.wait(10)
    made.settle("a")
    bind_all(made)
    assert set(made.bound()) == {("p1", ("a", "0"))}
    [first, second] = made.jobs["a"].status["attempts"]
    assert (first["cause"], second["attempt"], made.jobs["a"].status["restarts"]) == ("NodePoolTaken", 2, 0)
    assert first["message"] == ("Slice 0 is not whole in node pool p0, where pod x/p0-1 holds accelerators too.")


def test_a_stranger_that_goes_again_moves_nobody() -> None:
    made = world(1, a=1)
    made.settle("a")
    made.stranger("p0-1")
    made.settle("a")
    made.wait(5)
    made.stranger_leaves("p0-1")
    made.settle("a")
    made.wait(30)
    made.settle("a")
    assert rows(made, "a") == [(1, "")]


def test_two_slices_of_a_job_that_were_put_into_one_pool_are_taken_apart() -> None:
    """No choice leads there; two leaders may, where their anti-affinity was lost on the way."""
    made = world(2, a=2)
    made.settle("a")
    for document in made.pods.values():
        document["spec"]["nodeSelector"]["cloud.google.com/gke-nodepool"] = "p0"
    made.settle("a")
    made.wait(10)
    made.settle("a")
    assert made.pools_of("a") == {0: {"p0"}, 1: {"p1"}}
    assert "where slice 0 of this job holds accelerators too" in made.jobs["a"].status["attempts"][0]["message"]


def test_who_has_all_nodes_of_his_pool_stays() -> None:
    made = world(2, a=1)
    made.settle("a")
    bind_all(made)
    made.strangers["p0-0"] = ""
    made.pools.saw(("", "x/odd"), made._holder("p0-0"), gone=False)
    made.settle("a")
    made.wait(60)
    made.settle("a")
    assert rows(made, "a") == [(1, "")]


@pytest.mark.parametrize("count", [1, HOSTS + 1])
def test_a_pool_of_another_size_is_never_chosen(count: int) -> None:
    made = world(0, a=1)
    made.add_pool("odd", count)
    made.settle("a")
    assert made.pools_of("a") == {}
    bind_all(made)
    assert not list(made.bound())


@pytest.mark.parametrize(
    ("spec", "free"),
    [
        ({}, True),
        ({"unschedulable": True}, False),
        ({"taints": [{"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "cloud.google.com/impending-node-termination", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}, False),
        ({"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "team", "value": "b", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "whatever", "effect": "PreferNoSchedule"}]}, True),
    ],
)
def test_a_pool_with_a_node_that_takes_no_pod_is_not_whole(spec: dict[str, Any], free: bool) -> None:
    made = world(1)
    tolerates = [{"key": "team", "operator": "Equal", "value": "a"}]
    made.add_job("a", 1, tolerations=tolerates)
    node = made.nodes.get("", "p0-1")
    assert node is not None
    made.nodes.remove(("", "p0-1"))
    made.nodes.upsert(msgspec.structs.replace(node, spec=msgspec.convert(spec, NodeSpec)))
    made.settle("a")
    assert made.pools_of("a") == ({0: {"p0"}} if free else {})


def test_a_pool_that_the_template_names_is_waited_for_without_pods() -> None:
    made = world(2)
    made.add_job("a", 1, nodeSelector={"cloud.google.com/gke-nodepool": "p0"})
    made.stranger("p0-0")
    made.settle("a")
    assert not made.pods
    made.stranger_leaves("p0-0")
    made.settle("a")
    assert made.pools_of("a") == {0: {"p0"}}
    assert rows(made, "a") == []


@given(st.integers(0, 2 * HOSTS), st.integers(1, 3))
def test_a_crash_between_any_two_creates_changes_no_choice(before: int, slices: int) -> None:
    made = world(3, a=slices)
    made.reconcile("a", creates=before)
    made.restart_operator()
    made.settle("a")
    assert [len(pools) for pools in made.pools_of("a").values()] == [1] * slices
    assert len(set.union(*made.pools_of("a").values())) == slices
    assert len(made.pods) == slices * HOSTS


steps = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from("abc"), st.sampled_from([0, 1, 3, 99])),
    st.tuples(st.just("bind"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 25), st.just(0)),
    st.tuples(st.just("stranger"), st.integers(0, 11), st.just(0)),
    st.tuples(st.just("leaves"), st.integers(0, 11), st.just(0)),
    st.tuples(st.just("grow"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("end"), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


def carry_out(made: World, step: tuple[str, str | int, int]) -> None:
    what, which, creates = step
    nodes = [node.metadata.name for node in made.nodes.values()]
    match what:
        case "pass" if which in made.jobs:
            made.reconcile(str(which), creates)
        case "bind" if made.pods:
            made.bind(sorted(made.pods)[int(which) % len(made.pods)])
        case "wait":
            made.wait(float(which))
        case "stranger" if nodes:
            made.stranger(nodes[int(which) % len(nodes)])
        case "leaves" if made.strangers:
            made.stranger_leaves(sorted(made.strangers)[int(which) % len(made.strangers)])
        case "grow":
            made.add_pool(f"grown-{len(nodes)}", int(which))
        case "end" if which in made.jobs:
            made.end_job(str(which))
        case "restart":
            made.restart_operator()


def nothing_is_shared(made: World) -> None:
    slices: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for pool, who in made.bound():
        slices[pool].add(who)
    assert all(len(who) == 1 for who in slices.values()), slices


def pins_are_whole(made: World) -> None:
    """A pool that a first pod was pinned to had as many nodes as the slice has hosts: pools here never shrink."""
    counts: dict[str, int] = defaultdict(int)
    for node in made.nodes.values():
        counts[node.metadata.labels["cloud.google.com/gke-nodepool"]] += 1
    for document in made.pods.values():
        selector = document["spec"].get("nodeSelector") or {}
        leads = "podAntiAffinity" in (document["spec"].get("affinity") or {})
        first = document["metadata"]["labels"][names.HOST] == "0"
        if first and not leads:
            assert counts[selector["cloud.google.com/gke-nodepool"]] == HOSTS


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 4), st.lists(steps, max_size=60))
def test_whatever_happens_no_two_slices_share_a_pool(pools: int, history: list[tuple[str, str | int, int]]) -> None:
    made = world(pools, a=1, b=2, c=3)
    for step in history:
        carry_out(made, step)
        nothing_is_shared(made)
        pins_are_whole(made)
        for name in made.jobs:
            assert all(len(found) <= 1 for found in made.pools_of(name).values()), "a slice is never in two pools"


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 4), st.lists(steps, max_size=40))
def test_when_the_world_calms_down_every_job_that_fits_runs(
    pools: int, history: list[tuple[str, str | int, int]]
) -> None:
    made = world(pools, a=1, b=2, c=3)
    for step in history:
        carry_out(made, step)
    for node in list(made.strangers):
        made.stranger_leaves(node)
    for number in range(6):
        made.add_pool(f"last-{number}")
    for _ in range(40):
        for name in sorted(made.jobs):
            made.reconcile(name)
        bind_all(made)
        made.wait(11)
    for name, slices in {"a": 1, "b": 2, "c": 3}.items():
        if name in made.jobs:
            held = [who for _, who in made.bound() if who[0] == name]
            assert len(held) == slices * HOSTS, (name, made.jobs[name].status.get("message"))
    nothing_is_shared(made)


class Untouchable(Mapping[str, str]):
    """What others hold, where nothing may be asked about it."""

    def __getitem__(self, pool: str) -> str:
        raise AssertionError(f"this pass asks who holds {pool}")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("this pass goes through all pools")

    def __len__(self) -> int:
        raise AssertionError("this pass counts all pools")


class OneByOne(Untouchable):
    """What others hold, where single pools may be asked about."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, pool: str) -> str:
        self.asked.add(pool)
        raise KeyError(pool)


@pytest.mark.parametrize("spec", [{}, {"suspend": True}, {"activeDeadline": "1s"}], ids=["runs", "suspend", "deadline"])
def test_a_pass_that_places_nothing_asks_nothing_about_pools(spec: dict[str, Any]) -> None:
    nodes = {f"n{number}": b.node(f"n{number}", labels={**KIND, NODE_POOL: "p0"}) for number in range(HOSTS)}
    pods = [b.running(number, node=f"n{number}") for number in range(HOSTS)]
    job = b.job(b.attempt_status(), accelerator={"tpu": TPU}, **spec)
    seen = b.observed(job, *pods, nodes=nodes, service=b.service(), occupied_pools=Untouchable())
    for after in (1, 200):
        made = plan(seen, b.NOW + timedelta(seconds=after))
        assert made.status is not None or made.write_ahead is not None


def test_a_gang_that_is_not_whole_yet_asks_about_its_own_pools_alone() -> None:
    made = world(9, a=2)
    made.settle("a")
    held = OneByOne()
    plan(replace(made.observe("a"), occupied_pools=held), made.now)
    assert held.asked == {"p0", "p1"}


def test_a_pass_that_places_a_slice_asks_about_the_pools_that_it_could_use() -> None:
    made = world(4, a=1)
    held = OneByOne()
    plan(replace(made.observe("a"), occupied_pools=held), made.now)
    assert held.asked == {"p0", "p1", "p2", "p3"}
