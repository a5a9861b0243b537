"""`python -m deploy.demo`: the main job on a real local cluster, with its disasters, and the proof.

KEEP=1 leaves cluster and jobs up and prints how to reach them; a cluster that was up before stays up anyway. Exit code
1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console

from deploy.demo import installation
from deploy.demo.lab import Lab
from deploy.demo.screen import Screen
from deploy.demo.story import NAMESPACE, Story, bring_nodes_back
from deploy.kind import cluster
from deploy.kind.console import Problem, say
from deploy.kind.paths import cache

_CLUSTER = "HOLDFAST_CLUSTER"


def main() -> int:
    """Play the demo; returns the exit code."""
    argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__).parse_args()
    name = os.environ.get(_CLUSTER, "holdfast")
    keep = os.environ.get("KEEP", "") not in ("", "0")
    console = Console()
    lab: Lab | None = None
    was_up = _is_up(name)
    try:
        lab = installation.ensure(name)
        screen = Screen(console)
        with screen.live():
            proof = Story(lab, screen).run()
        console.print()
        for line in proof:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(f"Nothing that was committed was lost. The demo took {screen.elapsed_s:.0f} s.")
    except Problem as problem:
        console.print(f"The demo failed: {problem}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    finally:
        if lab is not None:
            bring_nodes_back(lab)
            _leave(name, lab, keep=keep or was_up, console=console)
    return 0


def _is_up(name: str) -> bool:
    """Whether the cluster answers already: then it is somebody's, and stays."""
    try:
        return cluster.attach(name, cache()).answers()
    except Problem:
        return False


def _leave(name: str, lab: Lab, *, keep: bool, console: Console) -> None:
    if keep:
        console.print(f"The cluster is up. To look at it: export KUBECONFIG={lab.kube.state.kubeconfig}")
        console.print(f"  kubectl -n {NAMESPACE} get trainingjobs,pods; make cluster-down takes it away")
        return
    say("KEEP=1 would have left the cluster up")
    cluster.down(name, cache())


if __name__ == "__main__":
    sys.exit(main())
