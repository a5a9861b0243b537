"""Jobs of several slices with a whole operator, a scheduler and strangers: nothing is shared, everybody has a turn.

A seed that fails is replayed with `pytest tests/cluster/test_slices.py -k 'seed-17'` after adding it to SEEDS.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from holdfast.api import labels as names
from holdfast.app.operator import Replica
from holdfast.app.settings import OperatorSettings
from tests.support.apiserver import MemoryApiServer
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until
from tests.support.scheduler import POOL, Document, Host, first_fit

SEEDS = range(1, 9)
HOSTS = 2
KIND = {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
    "cloud.google.com/gke-tpu-topology": "2x4",
    "cloud.google.com/gke-accelerator-count": "4",
}
ENDED = ("Succeeded", "Failed")


class Ground:
    """An API server, node pools, a scheduler that also plays the kubelets, and replicas of the operator."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.spawner = SeededSpawner(seed)
        self.server = MemoryApiServer(self.clock, self.spawner, seed=seed, collect_after_s=1.0)
        self.replicas: list[tuple[Replica, SeededSpawner]] = []
        self.born = 0
        self.slow = False

    async def start(self, pools: int) -> None:
        for number in range(pools):
            self.add_pool(f"p{number}")
        self.spawner.spawn(self._schedule(), name="scheduler")
        await self.add_replica()

    async def add_replica(self) -> None:
        self.born += 1
        settings = OperatorSettings(
            namespace="system", pod_name=f"op-{self.born}", pod_ip=f"10.0.0.{self.born}", sidecar_image="image"
        )
        spawner = SeededSpawner(self.seed * 100 + self.born)
        replica = Replica(settings, self.server, self.clock, SeededRandom(self.born), spawner)
        await replica.start(serve=False)
        self.replicas.append((replica, spawner))

    async def kill(self) -> None:
        _, spawner = self.replicas.pop()
        await spawner.stop()
        await self.add_replica()

    async def stop(self) -> None:
        for _, spawner in self.replicas:
            await spawner.stop()
            assert not spawner.failures
        await self.spawner.stop()
        assert not self.spawner.failures

    def add_pool(self, pool: str) -> None:
        for number in range(HOSTS):
            self.server.put("nodes", {"metadata": {"name": f"{pool}-{number}", "labels": {**KIND, POOL: pool}}})

    def job(self, name: str, slices: int) -> None:
        tpu = {"generation": "v6e", "topology": "2x4", "slices": slices}
        template = {"spec": {"containers": [{"name": "trainer", "image": "trainer"}]}}
        spec = {"accelerator": {"tpu": tpu}, "runtime": {"framework": "JAX"}, "template": template}
        self.server.put("trainingjobs", {"metadata": {"name": name, "namespace": "team"}, "spec": spec})

    def delete_job(self, name: str) -> None:
        if self.server.find("trainingjobs", "team", name):
            self.server.remove("trainingjobs", "team", name)

    def stranger(self, node: str) -> None:
        if node not in {pod["spec"].get("nodeName") for pod in self.server.all("pods")}:
            containers = [{"name": "main", "resources": {"limits": {"google.com/tpu": "4"}}}]
            spec = {"nodeName": node, "containers": containers}
            self.server.put("pods", {"metadata": {"name": f"on-{node}", "namespace": "x"}, "spec": spec})

    def strangers_leave(self) -> None:
        for pod in self.server.all("pods"):
            if pod["metadata"]["namespace"] == "x":
                self.server.remove("pods", "x", pod["metadata"]["name"])

    def status(self, name: str) -> Document:
        found = self.server.find("trainingjobs", "team", name)
        return dict(found.get("status") or {}) if found else {}

    def pools_of(self, name: str) -> list[str]:
        """Return the pools in which all hosts of a slice of the job are bound."""
        hosts: dict[tuple[str, str], int] = defaultdict(int)
        for pod in self.server.all("pods"):
            labels = pod["metadata"].get("labels") or {}
            if labels.get(names.JOB_NAME) == name and pod["spec"].get("nodeName"):
                hosts[(labels[names.SLICE], pod["spec"]["nodeName"].rsplit("-", 1)[0])] += 1
        return sorted(pool for (_, pool), count in hosts.items() if count == HOSTS)

    async def until(self, name: str, phase: str, limit_s: float = 300) -> float:
        return await run_until(self.clock, lambda: self.status(name).get("phase") == phase, limit_s=limit_s)

    async def _schedule(self) -> None:
        """Look at the pods a few times a second: bind one, start what is bound, end what is deleted."""
        while True:
            await self.clock.sleep(0.3)
            self._nothing_is_shared()
            for pod in self.server.all("pods"):
                meta = pod["metadata"]
                if meta.get("deletionTimestamp"):
                    self.server.remove("pods", meta["namespace"], meta["name"])
                elif not pod["spec"].get("nodeName"):
                    self._bind(pod)

    def _bind(self, pod: Document) -> None:
        if self.slow and self.chance.random() < 0.7:
            return
        pods = self.server.all("pods")
        hosts = [Host(node["metadata"]["name"], node["metadata"]["labels"]) for node in self.server.all("nodes")]
        bound = [other for other in pods if other["spec"].get("nodeName")]
        meta = pod["metadata"]
        node = first_fit(pod, hosts, bound)
        if node is None:
            return
        self.server.merge("pods", meta["namespace"], meta["name"], {"spec": {"nodeName": node}})
        running = [{"name": "trainer", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]
        status = {"phase": "Running", "containerStatuses": running}
        self.server.merge("pods", meta["namespace"], meta["name"], {"status": status}, status=True)

    def _nothing_is_shared(self) -> None:
        held: dict[str, set[str]] = defaultdict(set)
        for pod in self.server.all("pods"):
            labels = pod["metadata"].get("labels") or {}
            if pod["spec"].get("nodeName") and names.SLICE in labels:
                pool = pod["spec"]["nodeName"].rsplit("-", 1)[0]
                held[pool].add(f"{labels[names.JOB_NAME]}/{labels[names.SLICE]}")
        assert all(len(who) == 1 for who in held.values()), held


@pytest.fixture
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    made = Ground(getattr(request, "param", 1))
    yield made
    await made.stop()


def status_writes(ground: Ground, name: str) -> int:
    return sum(1 for _, path in ground.server.writes() if path.endswith(f"/trainingjobs/{name}/status"))


async def test_two_slices_start_with_one_status_write(ground: Ground) -> None:
    await ground.start(pools=3)
    ground.job("two", 2)
    await ground.until("two", "Running")
    assert ground.pools_of("two") == ["p0", "p1"]
    assert ground.status("two")["nodePools"] == [{"slice": 0, "nodePool": "p0"}, {"slice": 1, "nodePool": "p1"}]
    assert status_writes(ground, "two") == 1


async def test_jobs_that_compete_take_turns_and_one_alone_moves(ground: Ground) -> None:
    """Of two that wait, the pools that come free go to one; the other one's status is not written for that."""
    await ground.start(pools=4)
    for name in ("first", "second", "third"):
        ground.job(name, 3)
        await ground.clock.advance(15)
    assert ground.status("first")["phase"] == "Running"
    assert {ground.status(name)["reason"] for name in ("second", "third")} == {"AwaitingNodePool"}
    assert ground.pools_of("second") == ground.pools_of("third") == []
    before = {name: status_writes(ground, name) for name in ("second", "third")}
    ground.delete_job("first")
    await run_until(
        ground.clock,
        lambda: "Running" in {ground.status(name)["phase"] for name in ("second", "third")},
        limit_s=120,
    )
    await ground.clock.advance(60)
    [winner] = [name for name in ("second", "third") if ground.status(name)["phase"] == "Running"]
    [other] = {"second", "third"} - {winner}
    assert status_writes(ground, winner) == before[winner] + 2
    assert status_writes(ground, other) == before[other]
    assert [row.get("cause") for row in ground.status(winner)["attempts"]] == ["PlacedAnew", None]
    ground.delete_job(winner)
    await ground.until(other, "Running")


async def test_a_pool_that_is_whole_again_is_taken_at_once(ground: Ground) -> None:
    """The leader was created beside it, so there is nothing to wait for; a new pool is left to its leader a while."""
    await ground.start(pools=1)
    ground.server.merge("nodes", "", "p0-1", {"spec": {"unschedulable": True}})
    await ground.clock.advance(2)
    ground.job("j", 1)
    await ground.clock.advance(30)
    assert ground.status("j")["reason"] == "AwaitingNodePool"
    assert "p0 has 1 usable nodes of 2" in ground.status("j")["message"]
    ground.server.merge("nodes", "", "p0-1", {"spec": {"unschedulable": False}})
    assert await ground.until("j", "Running") < 5


async def test_a_lost_race_is_told_and_moved_away_from(ground: Ground) -> None:
    await ground.start(pools=1)
    ground.slow = True
    ground.job("late", 1)
    await run_until(ground.clock, lambda: len(ground.server.all("pods")) == HOSTS, limit_s=30)
    free = {"p0-0", "p0-1"} - {pod["spec"].get("nodeName", "") for pod in ground.server.all("pods")}
    ground.stranger(min(free))
    ground.add_pool("p1")
    ground.slow = False
    await ground.until("late", "Running")
    assert ground.pools_of("late") == ["p1"]
    [lost, _] = ground.status("late")["attempts"]
    assert lost["cause"] == "NodePoolTaken"
    assert f"in node pool p0, where pod x/on-{min(free)} holds accelerators too" in lost["message"]


@pytest.mark.parametrize("ground", SEEDS, indirect=True, ids=lambda seed: f"seed-{seed}")
async def test_whatever_happens_pools_are_not_shared_and_everybody_runs_in_the_end(ground: Ground) -> None:
    await ground.start(pools=4)
    ground.slow = True
    ground.server.watch_lag = lambda: ground.chance.choice([0.0, 0.0, 0.5, 3.0])
    wanted = {f"job-{number}": ground.chance.randint(1, 3) for number in range(5)}
    waiting = list(wanted)
    for _ in range(30):
        match ground.chance.randrange(6):
            case 0 if waiting:
                name = waiting.pop()
                ground.job(name, wanted[name])
            case 1:
                await ground.kill()
            case 2:
                ground.stranger(f"p{ground.chance.randrange(4)}-{ground.chance.randrange(HOSTS)}")
            case 3:
                ground.strangers_leave()
            case 4 if ground.chance.random() < 0.2:
                ground.delete_job(ground.chance.choice(sorted(wanted)))
        await ground.clock.advance(ground.chance.uniform(0.1, 12))
    for name in waiting:
        ground.job(name, wanted[name])
    ground.strangers_leave()
    for number in range(12):
        ground.add_pool(f"q{number}")
    for name in wanted:
        if ground.server.find("trainingjobs", "team", name):
            await ground.until(name, "Running")
            assert len(ground.pools_of(name)) == wanted[name]
