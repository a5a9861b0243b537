"""Up, down and status of one cluster."""

import shutil
from pathlib import Path

from deploy.kind import addons, diagnosis, faults, gotools, hostdeps, nodes, provider, state
from deploy.kind.console import Problem, say, step
from deploy.kind.digests import locked
from deploy.kind.engine import addresses
from deploy.kind.engine.daemon import Engine
from deploy.kind.engine.link import route_pods, unroute_pods
from deploy.kind.kindconfig import SHARED_IN_NODE, render
from deploy.kind.kube import Kube, is_ready
from deploy.kind.paths import Cache
from deploy.kind.process import Failed, succeeds
from deploy.kind.provider import Provider
from deploy.kind.state import State

_CREATE_TIMEOUT_S = 600.0


def build(cache: Cache) -> Provider:
    """Everything that is slow and cached: Go programs, images, and in the end a running engine with the node image."""
    name = provider.choose(cache)
    if name == "offline":
        hostdeps.ensure()
    gotools.ensure_all(cache, gotools.needed(name))
    chosen = provider.provide(name, cache)
    say(f"nodes run {chosen.node_image()} on {'the own' if name == 'offline' else 'the machine’s'} Docker engine")
    return chosen


def attach(name: str, cache: Cache) -> Kube:
    """A cluster that is up, or was: for verbs that need one.

    Raises:
        Problem: if there is none, or its engine does not run.
    """
    found = State.of(name, cache)
    return Kube(found, provider.provide(found.provider(), cache, start=False))


def up(name: str, workers: int, cache: Cache) -> Kube:
    """Bring a cluster up, or make sure that the one that is there is whole.

    Raises:
        Problem: if it does not come up (after a diagnosis), or has another number of workers.
    """
    own = State.of(name, cache)
    with locked(own.lock):
        if own.known():
            if own.workers() != workers:
                raise Problem(
                    f"cluster {name} has {own.workers()} workers, not {workers}: take it down first "
                    f"(python3 -m deploy.kind down --name {name})"
                )
            whole = _still_whole(own, cache)
            if whole is not None:
                say(f"cluster {name} is up already")
                return whole
            say(f"cluster {name} is there but not whole: it is made anew")
            _remove(own, cache)
        return _create(own, workers, cache)


def down(name: str, cache: Cache) -> None:
    """Take a cluster away, and the project's own engine with the last one; safe to repeat."""
    own = State.of(name, cache)
    with locked(own.lock):
        if own.known():
            with step(f"take cluster {name} down"):
                _remove(own, cache)
        else:
            say(f"there is no cluster {name}")
    if not state.known_clusters(cache):
        Engine(cache).stop()


def status(name: str, cache: Cache) -> bool:
    """Print what there is; whether the cluster is whole."""
    own = State.of(name, cache)
    if not own.known():
        print(f"cluster {name}: none")
        return False
    if own.provider() == "offline" and Engine(cache).pid() is None:
        print(f"cluster {name}: its Docker engine does not run (python3 -m deploy.kind up makes it anew)")
        return False
    kube = attach(name, cache)
    answers = kube.answers()
    print(f"cluster {name}: API server {'ready' if answers else 'does not answer'} (provider {own.provider()})")
    print(f"  kubeconfig  {own.kubeconfig}")
    running = kube.running()
    for node in kube.nodes():
        print(f"  {node:<32} container {'runs' if node in running else 'is off'}")
    if answers:
        print(kube.kubectl("get", "nodes", "-o", "wide"), end="")
        url = addons.bucket_url(kube)
        print(f"  bucket      {url} ({'answers' if addons.bucket_answers(url, addons.BUCKET_NAME) else 'is away'})")
    return answers and len(running) == len(kube.nodes()) and nodes.all_ready(kube)


def _create(own: State, workers: int, cache: Cache) -> Kube:
    chosen = build(cache)
    image = chosen.node_image()
    slot = state.free_slot(cache)
    subnet = addresses.pod_subnet(chosen.engine_slot, slot)
    own.write(chosen.name, workers, slot)
    own.config.write_text(render(chosen.api_address, subnet, own.shared, workers))
    kube = Kube(own, chosen)
    # Containers of a killed run may be left under this name without our knowing.
    kube.kind("delete", "cluster", "--kubeconfig", own.kubeconfig, timeout_s=120)
    try:
        with step(f"kind create cluster {own.name} (1 control plane, {workers} workers)"):
            kube.kind(
                "create", "cluster", "--image", image, "--config", own.config, "--kubeconfig", own.kubeconfig,
                "--retain", "--wait", "0s", timeout_s=_CREATE_TIMEOUT_S,
            )  # fmt: skip
        _furnish(kube)
    except Problem:
        diagnosis.explain(kube, cache.logs / f"cluster-{own.name}")
        _remove(own, cache)
        raise
    say(f"cluster {own.name} is up: export KUBECONFIG={own.kubeconfig}")
    return kube


def _furnish(kube: Kube) -> None:
    nodes.wait_ready(kube)
    route_pods(kube.provider.network_pid(), nodes.pod_subnets(kube))
    nodes.dress(kube, kube.nodes())
    addons.install(kube)


def _still_whole(own: State, cache: Cache) -> Kube | None:
    """The cluster if its control plane answers, with whatever else is missing put back; else None."""
    if own.provider() == "offline" and not Engine(cache).answers():
        return None
    kube = attach(own.name, cache)
    try:
        if kube.nodes()[0] not in kube.running() or not kube.answers():
            return None
        _bring_workers_back(kube)
        found = {one["metadata"]["name"]: one for one in kube.get("nodes")["items"]}
        bare = [node for node in kube.nodes()[1:] if not nodes.dressed(found[node])]
        if bare or not addons.bucket_answers(addons.bucket_url(kube), addons.BUCKET_NAME):
            _furnish(kube)
    except Problem as problem:
        say(str(problem))
        return None
    return kube


def _bring_workers_back(kube: Kube) -> None:
    """Bring back the workers that a test, or a killed run, left off or cut off."""
    running = kube.running()
    ready = {one["metadata"]["name"] for one in kube.get("nodes")["items"] if is_ready(one)}
    for number, node in enumerate(kube.nodes()[1:], start=1):
        if node not in running or node not in ready:
            faults.bring_back(kube, number)


def _remove(own: State, cache: Cache) -> None:
    engine = Engine(cache)
    if own.provider() == "docker" or engine.answers():
        kube = attach(own.name, cache)
        _empty_shared(kube)
        kube.kind("delete", "cluster", "--kubeconfig", own.kubeconfig, timeout_s=180)
        subnet = addresses.pod_subnet(kube.provider.engine_slot, own.slot())
        unroute_pods(kube.provider.network_pid(), subnet)
    _remove_folder(own.folder)


def _empty_shared(kube: Kube) -> None:
    """Empty the shared directory from within: its files belong to root, the caller need not be."""
    for node in kube.running()[:1]:
        words = ["docker", "exec", node, "find", SHARED_IN_NODE, "-mindepth", "1", "-delete"]
        succeeds(words, timeout_s=60, env=kube.provider.environment())


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Failed(f"cannot remove {folder}: {error}; remove it by hand") from error
