"""Kills a random replica of the operator with SIGKILL every now and then, until it is stopped."""

from __future__ import annotations

import os
import random
import threading
import time

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.demo import installation, machines
from deploy.demo.lab import REPLY_S, Lab
from deploy.kind.console import Problem, say

_PERIOD_S = (20.0, 40.0)


class OperatorKiller:
    """A thread that kills. HOLDFAST_SEED repeats a sequence of pauses and choices."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._seed = int(os.environ.get("HOLDFAST_SEED") or time.time_ns() % 1_000_000)
        self._random = random.Random(self._seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator-killer", daemon=True)
        self.kills = 0
        self._thread.start()

    def stop(self) -> None:
        """Kill no more."""
        self._stopping.set()
        self._thread.join(60)
        say(f"the operator was killed {self.kills} times (HOLDFAST_SEED={self._seed})")

    def _run(self) -> None:
        while not self._stopping.wait(self._random.uniform(*_PERIOD_S)):
            try:
                self.kills += kill_one(self._lab, self._random)
            except (Problem, ApiException, HTTPError, OSError) as error:
                # A replica that is just starting, or on a node that is away, is not there to be killed.
                say(f"no replica of the operator was killed: {str(error)[:120]}")


def kill_one(lab: Lab, chance: random.Random) -> bool:
    """Kill a random replica; whether one was there to be killed."""
    running = [pod for pod in installation.operator_pods(lab) if pod.status.phase == "Running"]
    if not running:
        return False
    pod = chance.choice(running)
    machines.sigkill(lab.kube, pod, pod.spec.containers[0].name)
    # A new pod instead of the kubelet's restart, whose pauses grow to minutes.
    lab.core.delete_namespaced_pod(
        pod.metadata.name, installation.NAMESPACE, grace_period_seconds=0, _request_timeout=REPLY_S
    )
    return True
