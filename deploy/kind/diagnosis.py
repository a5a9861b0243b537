"""What to look at when a cluster does not come up, gathered before it is taken away."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deploy.kind.console import Problem, say
from deploy.kind.kube import Kube

_WIDTH = 200


def explain(kube: Kube, logs: Path) -> None:
    """Print nodes, pods and the ends of the nodes' journals to standard error; keep all logs in ``logs``."""
    say("diagnosis:")
    _show("containers", lambda: kube.docker("ps", "-a", "--format", "{{.Names}}\t{{.Status}}"))
    _show("nodes", lambda: kube.kubectl("get", "nodes", "-o", "wide", timeout_s=10))
    _show("pods", lambda: kube.kubectl("get", "pods", "-A", "-o", "wide", timeout_s=10))
    _show("events", lambda: _tail(kube.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp", timeout_s=10), 30))
    for node in kube.nodes():
        for unit in ("kubelet", "containerd"):
            journal = ("exec", node, "journalctl", "--no-pager", "-n", "25", "-u", unit)
            _show(f"{node}: {unit}", partial(kube.docker, *journal, timeout_s=20))
    try:
        export(kube, logs)
    except Problem as problem:
        say(str(problem))
    say(f"all logs: {logs}")


def export(kube: Kube, folder: Path) -> None:
    """``kind export logs`` into ``folder``.

    Raises:
        Problem: with what could not be had; the rest is in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kube.kind("export", "logs", folder.resolve(), timeout_s=120)


def _show(title: str, ask: Callable[[], str]) -> None:
    try:
        text = ask()
    except Problem as problem:
        text = str(problem)
    lines = [line[:_WIDTH] for line in text.strip().splitlines()]
    print("\n".join([f"--- {title}", *lines]), file=sys.stderr, flush=True)


def _tail(text: str, count: int) -> str:
    return "\n".join(text.splitlines()[-count:])
