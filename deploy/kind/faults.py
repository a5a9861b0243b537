"""Node faults: power off, partition, and the way back."""

from deploy.kind.console import Problem, say, step
from deploy.kind.engine.link import route_pods
from deploy.kind.kube import Kube, is_ready, ready_heartbeat
from deploy.kind.nodes import dress, pod_subnets
from deploy.kind.process import Failed, wait_for

_READY_TIMEOUT_S = 120.0


def worker(kube: Kube, number: int) -> str:
    """Name of the ``number``-th worker, counted from 1.

    Raises:
        Problem: if there is none.
    """
    workers = kube.nodes()[1:]
    if not 1 <= number <= len(workers):
        raise Problem(f"N must be from 1 to {len(workers)}, not {number}: the workers are {', '.join(workers)}")
    return workers[number - 1]


def power_off(kube: Kube, number: int) -> None:
    """Kill the node's container at once, then do what a cloud's controller does: delete the Node object."""
    node = worker(kube, number)
    if node in kube.running():
        kube.docker("kill", node)
        say(f"{node} is off")
    kube.kubectl("delete", "node", node, "--ignore-not-found")
    say(f"{node}: its Node object is deleted, as a cloud's controller would")


def partition(kube: Kube, number: int) -> None:
    """Cut the node's network; its containers go on running."""
    node = worker(kube, number)
    if node not in kube.running():
        raise Problem(f"{node} is off: python3 -m deploy.kind node-on {number} first")
    kube.docker("exec", node, "ip", "link", "set", "eth0", "down")
    say(f"{node} is cut off")


def bring_back(kube: Kube, number: int) -> None:
    """Start the node or its network again, wait until it is Ready anew, and dress it again."""
    node = worker(kube, number)
    before = _heartbeat(kube, node)
    with step(f"bring {node} back"):
        if node not in kube.running():
            kube.docker("start", node)
        elif _cut(kube, node):
            kube.docker("exec", node, "ip", "link", "set", "eth0", "up")
            # The kernel drops the routes of a link that goes down, and nothing in the node puts this one back.
            kube.docker("exec", node, "ip", "route", "replace", "default", "via", _gateway(kube))
        # The API server goes on to say Ready from before for up to the grace period: only a new heartbeat counts.
        wait_for(f"{node} is Ready again", lambda: _fresh(kube, node, before), timeout_s=_READY_TIMEOUT_S)
        dress(kube, [node])
        route_pods(kube.provider.network_pid(), pod_subnets(kube))


def _fresh(kube: Kube, node: str, before: str) -> bool:
    found = kube.get("node", node)
    return is_ready(found) and ready_heartbeat(found) > before and bool(found["spec"].get("podCIDR"))


def _heartbeat(kube: Kube, node: str) -> str:
    try:
        return ready_heartbeat(kube.get("node", node))
    except Failed:
        return ""


def _cut(kube: Kube, node: str) -> bool:
    return "state UP" not in kube.docker("exec", node, "ip", "link", "show", "eth0")


def _gateway(kube: Kube) -> str:
    """The bridge's address, read from the control-plane node, which is never cut off."""
    route = kube.docker("exec", kube.nodes()[0], "ip", "-4", "route", "show", "default").split()
    if "via" not in route:
        raise Problem(f"{kube.nodes()[0]} has no default route: make the cluster anew (down, then up)")
    return route[route.index("via") + 1]
