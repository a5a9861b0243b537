"""Where pods end up: several slices, GPUs, jobs that compete, and pods of somebody else."""

from __future__ import annotations

from typing import Any

from tests.e2e.harness.waiting import stays, until
from tests.fleet.ground import Ground
from tests.fleet.operator_process import OperatorProcess

HOSTS = 4


def v6e(slices: int) -> dict[str, Any]:
    return {"tpu": {"generation": "v6e", "topology": "4x4", "slices": slices}}


def told(pod: Any) -> dict[str, str]:
    [trainer] = pod.spec.containers
    return {variable.name: variable.value for variable in trainer.env or []}


def test_each_slice_gets_a_whole_pool_and_knows_the_others(ground: Ground) -> None:
    ground.apply("two", v6e(2))
    status = ground.wait_for_phase("two", "Running")
    pools = ground.pools_of("two")
    assert len(set(pools.values())) == 2
    assert {row["slice"]: row["nodePool"] for row in status["nodePools"]} == pools
    assert status["workers"]["running"] == 2 * HOSTS
    for pod in ground.pods("two"):
        labels, seen = pod.metadata.labels, told(pod)
        number, host = int(labels["holdfast.dev/slice"]), int(labels["holdfast.dev/host"])
        assert (seen["MEGASCALE_SLICE_ID"], seen["MEGASCALE_NUM_SLICES"]) == (str(number), "2")
        assert (seen["MEGASCALE_COORDINATOR_ADDRESS"], seen["MEGASCALE_PORT"]) == ("two-0-0.two", "8081")
        assert seen["TPU_WORKER_ID"] == str(host)
        assert seen["TPU_WORKER_HOSTNAMES"].split(",") == [f"two-{number}-{peer}.two" for peer in range(HOSTS)]
        assert (seen["JAX_PROCESS_ID"], seen["JAX_NUM_PROCESSES"]) == (str(number * HOSTS + host), "8")


def test_workers_with_gpus_get_machines_of_their_type(ground: Ground) -> None:
    ground.apply("gpus", {"gpu": {"type": "nvidia-h100-80gb", "perWorker": 8, "workers": 3}})
    ground.wait_for_phase("gpus", "Running")
    [nodes] = ground.slices("gpus").values()
    assert len(set(nodes)) == 3, "a worker takes the whole machine"
    assert all(ground.pools[node].startswith("h100") for node in nodes)
    assert {told(pod)["JAX_COORDINATOR_ADDRESS"] for pod in ground.pods("gpus")} == {"gpus-0-0.gpus:8477"}


def test_gpus_that_no_machine_has_are_waited_for(ground: Ground) -> None:
    ground.apply("many", {"gpu": {"type": "nvidia-h100-80gb", "perWorker": 8, "workers": 5}})
    until(
        "the fifth worker is waited for",
        lambda: ground.status("many").get("reason") == "Unschedulable",
        within_s=40,
        explain=lambda: ground.tell("many"),
    )
    assert "Insufficient nvidia.com/gpu" in ground.status("many")["message"]


def test_jobs_that_compete_for_slices_take_turns(ground: Ground, operator: OperatorProcess) -> None:
    """Three of four pools each: the second holds nothing while it waits, though the operator is killed."""
    ground.apply("first", v6e(3))
    ground.wait_for_phase("first", "Running")
    ground.apply("second", v6e(3))
    status = until(
        "the second says why it waits",
        lambda: found if (found := ground.status("second")).get("reason") == "AwaitingNodePool" else None,
        within_s=40,
        explain=lambda: ground.tell("second"),
    )
    assert f"is held by TrainingJob {ground.namespace}/first" in status["message"]
    operator.kill()
    operator.start()
    stays("nothing is held in vain", lambda: not ground.slices("second"), for_s=5)
    before = ground.pools_of("first")
    ground.delete("first")
    status = ground.wait_for_phase("second", "Running", within_s=90)
    after = ground.pools_of("second")
    assert len(set(before.values())) == len(set(after.values())) == 3
    assert [row.get("cause") for row in status["attempts"]] == ["PlacedAnew", None]
    assert status["restarts"] == 0


def test_jobs_that_start_together_share_nothing(ground: Ground, operator: OperatorProcess) -> None:
    """Three jobs of one slice and one of two on four pools, with the operator killed while they start."""
    jobs = ("a", "b", "c", "pair")
    for name in jobs:
        ground.apply(name, v6e(2 if name == "pair" else 1))
    operator.kill()
    operator.start()

    def running() -> list[str]:
        return [name for name in jobs if ground.status(name).get("phase") == "Running"]

    until("three of them run", lambda: len(running()) == 3, within_s=60, explain=lambda: ground.tell("pair"))
    held = [pool for name in running() for pool in ground.pools_of(name).values()]
    assert len(held) == len(set(held))


def test_a_strangers_pool_is_left_alone(ground: Ground) -> None:
    ground.take("v6e-0000-0002", "theirs")
    ground.apply("all", v6e(3))
    ground.wait_for_phase("all", "Running")
    assert sorted(ground.pools_of("all").values()) == ["v6e-0001", "v6e-0002", "v6e-0003"]


def test_a_stranger_that_wins_the_race_is_named_and_moved_away_from(ground: Ground) -> None:
    """Gates hold the pods back from the scheduler, so that the stranger is always faster."""
    ground.apply("late", v6e(1), schedulingGates=[{"name": "holdfast.example/gate"}])
    until("the pods are there", lambda: len(ground.pods("late")) == HOSTS, within_s=30)
    [pool] = {pod.spec.node_selector["cloud.google.com/gke-nodepool"] for pod in ground.pods("late")}
    ground.take(f"{pool}-0001", "theirs")
    status = until(
        "the job moves on",
        lambda: found if (found := ground.status("late")).get("attempt") == 2 else None,
        within_s=40,
        explain=lambda: ground.tell("late"),
    )
    assert status["attempts"][0]["cause"] == "NodePoolTaken"
    assert f"in node pool {pool}, where pod {ground.namespace}/theirs holds" in status["attempts"][0]["message"]
    until("pods of the next attempt", lambda: _open_gates(ground, "late", attempt="2") == HOSTS, within_s=30)
    ground.wait_for_phase("late", "Running")
    assert ground.pools_of("late").keys() == {0}
    assert ground.pools_of("late")[0] != pool


def _open_gates(ground: Ground, name: str, attempt: str) -> int:
    ours = [pod for pod in ground.pods(name) if pod.metadata.labels["holdfast.dev/attempt"] == attempt]
    if len(ours) == HOSTS:
        for pod in ours:
            ground.core.patch_namespaced_pod(pod.metadata.name, ground.namespace, {"spec": {"schedulingGates": None}})
    return len(ours)
