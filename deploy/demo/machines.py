"""What is done to containers and networks from outside of Kubernetes, on the node where they are.

Both providers of the local cluster have containerd, its ``ctr``, ``nsenter`` and ``tc`` in their nodes.
"""

from __future__ import annotations

from typing import Any

from deploy.kind.console import Problem
from deploy.kind.kube import Kube

_NAMESPACE = ("-n", "k8s.io")


def container_id(pod: Any, container: str) -> str:
    """The runtime's id of a running container of a pod.

    Raises:
        Problem: if the container does not run.
    """
    statuses = [*(pod.status.container_statuses or []), *(pod.status.init_container_statuses or [])]
    for status in statuses:
        if status.name == container and status.state.running is not None and status.container_id:
            return str(status.container_id).removeprefix("containerd://")
    raise Problem(f"container {container} of pod {pod.metadata.name} does not run")


def sigkill(kube: Kube, pod: Any, container: str) -> None:
    """Kill a container's processes with SIGKILL, behind the kubelet's back."""
    signal(kube, pod, container, "SIGKILL")


def signal(kube: Kube, pod: Any, container: str, name: str) -> None:
    """Send a signal to a container's processes, behind the kubelet's back."""
    words = ("ctr", *_NAMESPACE, "tasks", "kill", "--signal", name, "--all", container_id(pod, container))
    kube.docker("exec", pod.spec.node_name, *words)


def throttle(kube: Kube, pod: Any, container: str, bytes_per_second: int) -> None:
    """Limit what a pod can send to a rate, with a token bucket on the pod's own interface."""
    node = pod.spec.node_name
    listing = kube.docker("exec", node, "ctr", *_NAMESPACE, "tasks", "ls")
    wanted = container_id(pod, container)
    process = next((line.split()[1] for line in listing.splitlines() if line.startswith(wanted)), None)
    if process is None:
        raise Problem(f"{node} knows no process of container {container} of pod {pod.metadata.name}")
    shape = ("root", "tbf", "rate", f"{bytes_per_second * 8}bit", "burst", "32kb", "latency", "500ms")
    kube.docker("exec", node, "nsenter", "-t", process, "-n", "tc", "qdisc", "add", "dev", "eth0", *shape)
