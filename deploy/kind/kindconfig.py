"""Rendering of kind's configuration from the committed template."""

import json
from pathlib import Path
from string import Template

from deploy.kind.console import Problem
from deploy.kind.paths import HERE

# Where the directory that all nodes share is mounted in each of them.
SHARED_IN_NODE = "/mnt/holdfast-shared"
_MOST_WORKERS = 14  # a cluster's pod network has room for 16 nodes; one is the control plane, one is spare


def render(api_address: str, pod_subnet: str, shared: Path, workers: int) -> str:
    """The configuration of a cluster with one control-plane node and ``workers`` workers.

    Raises:
        Problem: if the number of workers is out of range.
    """
    if not 1 <= workers <= _MOST_WORKERS:
        raise Problem(f"--workers must be from 1 to {_MOST_WORKERS}, not {workers}")
    nodes = "".join(_node(role, shared) for role in ["control-plane", *["worker"] * workers])
    template = Template((HERE / "config.yaml").read_text())
    return template.substitute(api_address=api_address, pod_subnet=pod_subnet, nodes=nodes.rstrip("\n"))


def _node(role: str, shared: Path) -> str:
    # A JSON string is a YAML string too, whatever the path holds.
    return (
        f"- role: {role}\n"
        "  extraMounts:\n"
        f"  - hostPath: {json.dumps(str(shared))}\n"
        f"    containerPath: {SHARED_IN_NODE}\n"
    )


def node_names(cluster: str, workers: int) -> list[str]:
    """Names that kind gives the nodes: ``C-control-plane``, ``C-worker``, ``C-worker2``, ..."""
    return [f"{cluster}-control-plane"] + [
        f"{cluster}-worker" if number == 1 else f"{cluster}-worker{number}" for number in range(1, workers + 1)
    ]
