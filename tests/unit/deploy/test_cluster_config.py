"""kind's configuration, the networks of engines and clusters, and the names of things."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kind.console import Problem
from deploy.kind.engine import addresses
from deploy.kind.engine.addresses import Addresses
from deploy.kind.engine.link import link_names
from deploy.kind.kindconfig import SHARED_IN_NODE, node_names, render
from deploy.kind.nodes import labels_of
from deploy.kind.paths import MANIFESTS, NODE, Cache
from deploy.kind.state import State, free_slot, known_clusters


def rendered(workers: int = 2, shared: str = "/var/cache/a b") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(render("10.97.3.2", "10.19.0.0/20", Path(shared), workers))
    return loaded


def test_one_control_plane_and_the_workers_share_a_directory() -> None:
    config = rendered()
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    mount = {"hostPath": "/var/cache/a b", "containerPath": SHARED_IN_NODE}
    assert all(node["extraMounts"] == [mount] for node in config["nodes"])
    assert config["networking"]["apiServerAddress"] == "10.97.3.2"
    assert config["networking"]["podSubnet"] == "10.19.0.0/20"


def test_node_loss_is_noticed_fast() -> None:
    patches = [yaml.safe_load(patch) for patch in rendered()["kubeadmConfigPatches"]]
    kubelet, cluster = patches
    assert kubelet["nodeStatusUpdateFrequency"] == "4s"
    flags = {one["name"]: one["value"] for one in cluster["controllerManager"]["extraArgs"]}
    grace = int(flags["node-monitor-grace-period"].removesuffix("s"))
    # The grace period must cover several heartbeats, or a slow machine loses nodes that are well.
    assert grace >= 4 * int(kubelet["nodeStatusUpdateFrequency"].removesuffix("s"))


@pytest.mark.parametrize("workers", [0, -1, 15])
def test_a_number_of_workers_that_has_no_room_is_refused(workers: int) -> None:
    with pytest.raises(Problem, match="--workers must be from 1 to 14"):
        rendered(workers)


def test_nodes_are_called_what_kind_calls_them() -> None:
    assert node_names("x", 3) == ["x-control-plane", "x-worker", "x-worker2", "x-worker3"]


def test_every_worker_is_a_pool_of_its_own() -> None:
    pools = [labels_of(number)["cloud.google.com/gke-nodepool"] for number in range(1, 15)]
    assert pools[:2] == ["tpu-a", "tpu-b"]
    assert len(set(pools)) == 14


def test_networks_of_two_engines_and_of_two_clusters_are_apart() -> None:
    networks = []
    for slot in range(64):
        own = Addresses(slot)
        networks += [own.link, own.nodes, own.pods]
        assert ipaddress.ip_address(own.engine) in ipaddress.IPv4Network(own.link)
    parsed = sorted(ipaddress.IPv4Network(one) for one in networks)
    assert all(not one.overlaps(other) for one, other in itertools.pairwise(parsed))
    services = ipaddress.IPv4Network("10.96.0.0/16")
    assert not any(one.overlaps(services) for one in parsed)
    pods = [ipaddress.IPv4Network(addresses.pod_subnet(5, slot)) for slot in range(16)]
    assert all(one.subnet_of(ipaddress.IPv4Network(Addresses(5).pods)) for one in pods)
    assert len(set(pods)) == 16


def test_a_slot_in_use_is_passed_over() -> None:
    assert addresses.choose(3, []).slot == 3
    assert addresses.choose(3, ["172.30.3.0/24", "10.20.7.0/24"]).slot == 5
    assert addresses.choose(63, ["10.97.63.0/30"]).slot == 0
    with pytest.raises(Problem, match="no free networks"):
        addresses.choose(0, ["10.0.0.0/8"])


def test_link_names_fit_the_kernel() -> None:
    assert all(len(name) <= 15 for name in link_names("abcdef"))


@pytest.mark.parametrize("name", ["", "Upper", "-x", "x-", "a_b", "x" * 33, "../x"])
def test_a_name_that_would_make_bad_containers_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is no cluster name"):
        State.of(name, Cache(tmp_path))


def test_slots_are_reused_when_a_cluster_is_gone(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert free_slot(cache) == 0
    for number, name in enumerate(("a", "b", "c")):
        State.of(name, cache).write("offline", 2, number)
    assert free_slot(cache) == 3
    (cache.clusters / "b" / "cluster.json").unlink()
    assert [state.name for state in known_clusters(cache)] == ["a", "c"]
    assert free_slot(cache) == 1


def test_what_was_noted_about_a_cluster_is_read_back(tmp_path: Path) -> None:
    state = State.of("a", Cache(tmp_path))
    with pytest.raises(Problem, match="there is no cluster a"):
        state.workers()
    state.write("docker", 3, 7)
    assert (state.provider(), state.workers(), state.slot()) == ("docker", 3, 7)
    assert state.shared.stat().st_mode & 0o777 == 0o777


@pytest.mark.parametrize("name", ["storage", "bucket"])
def test_manifests_are_sound_and_pull_nothing(name: str) -> None:
    documents = list(yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()))
    deployments = [one for one in documents if one["kind"] == "Deployment"]
    assert deployments
    for one in deployments:
        pod = one["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
        assert all(container["imagePullPolicy"] == "Never" for container in pod["containers"])


def test_outside_names_are_refused_in_a_block_of_their_own() -> None:
    manifest = yaml.safe_load((NODE / "files/kind/manifests/default-storage.yaml").read_text())
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("ConfigMap", "coredns")
    cluster, outside = manifest["data"]["Corefile"].split("\n}\n", 1)
    assert cluster.startswith("cluster.local:53 ")
    assert "kubernetes cluster.local" in cluster
    # CoreDNS asks `template` before `kubernetes` where it finds both in one block.
    assert "template" not in cluster
    assert outside.startswith(".:53 {\n")
    assert "rcode NXDOMAIN" in outside
    assert "forward" not in manifest["data"]["Corefile"]


def test_a_socket_path_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    assert Cache(Path("/home/a/.cache/holdfast")).socket().name == "docker.sock"
    with pytest.raises(Problem, match="XDG_CACHE_HOME"):
        Cache(tmp_path / ("x" * 100)).socket()
