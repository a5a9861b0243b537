"""What operators and sidecars use, sampled while the soak runs: `/proc` on the nodes, and the operators' `/metrics`.

What a replica of the operator has open depends on whether it leads, so that it is asked for both at once.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.demo import installation
from deploy.demo.lab import REPLY_S, Lab
from deploy.kind.console import Problem
from tests.soak.slopes import Sample

EVERY_S = 5.0
_PORT = 8080

# Brackets, so that neither this script nor what it runs is taken for one of ours. It prints for each of those: role,
# process, start in clock ticks, seconds since boot, resident kB, open files, sockets, threads.
LOOK = r"""
read up _ </proc/uptime
for p in $(grep -lsa -e 'holdfast-operato[r]' -e 'holdfast-sideca[r]' /proc/[0-9]*/cmdline); do
  p=${p%/cmdline}
  words=$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null) || continue
  case "$words" in
    *holdfast-operato[r]*) role=operator ;;
    *holdfast-sideca[r]\ run*) role=sidecar ;;
    *) continue ;;
  esac
  stat=$(cat "$p/stat" 2>/dev/null) || continue
  set -- ${stat##*) }
  start=${20}
  rss=$(sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "$p/status" 2>/dev/null)
  threads=$(sed -n 's/^Threads:[[:space:]]*\([0-9]*\).*/\1/p' "$p/status" 2>/dev/null)
  links=$(ls -l "$p/fd" 2>/dev/null | grep -c -e '->')
  sockets=$(ls -l "$p/fd" 2>/dev/null | grep -c 'socket:')
  [ -n "$rss" ] && echo "$role ${p#/proc/} $start $up $rss $links $sockets $threads"
done
"""
_TICKS = 100.0


class Usage:
    """A thread that samples until it is stopped."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stopping = threading.Event()
        self.samples: list[Sample] = []
        self.trouble = 0
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sample no more."""
        self._stopping.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            for node in self._lab.workers():
                try:
                    self.samples += on_node(node, self._lab.kube.docker("exec", node, "sh", "-c", LOOK))
                except Problem:
                    # A node that is off.
                    self.trouble += 1
            try:
                for pod in installation.operator_pods(self._lab):
                    self._scrape(pod.metadata.name)
            except (ApiException, HTTPError, OSError):
                self.trouble += 1

    def _scrape(self, pod: str) -> None:
        try:
            text = ask(self._lab, pod, "metrics")
        except (ApiException, HTTPError, OSError):
            # A replica that was just killed.
            self.trouble += 1
            return
        self.samples.append(of_metrics(pod, text, time.time()))


def ask(lab: Lab, pod: str, path: str) -> str:
    """Ask a replica of the operator through the API server."""
    answer = lab.core.connect_get_namespaced_pod_proxy_with_path(
        f"{pod}:{_PORT}", installation.NAMESPACE, path, _preload_content=False, _request_timeout=REPLY_S
    )
    return bytes(answer.data).decode()


def state(lab: Lab, pod: str) -> dict[str, object]:
    """What `/debug/state` of a replica says."""
    found: dict[str, object] = json.loads(ask(lab, pod, "debug/state"))
    return found


def on_node(node: str, text: str) -> Iterator[Sample]:
    """Read what the look at a node has printed."""
    for line in text.splitlines():
        role, number, start, up, rss, files, sockets, threads = line.split()
        yield Sample(
            role=role,
            life=f"{node}/{number}/{start}",
            age_s=float(up) - float(start) / _TICKS,
            values={
                "memory": float(rss) * 1024,
                "open files": float(files),
                "sockets": float(sockets),
                "threads": float(threads),
            },
        )


def of_metrics(pod: str, text: str, now: float) -> Sample:
    """Read what a replica tells of itself. What its report endpoint holds is told apart: it comes and goes with pods.

    A connection is a socket and a task; a report that waits for a command is a task, and two more wait for it.
    """
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    values = {name: float(value) for name, value in lines}
    start = values["process_start_time_seconds"]
    connections, polls = values["holdfast_report_connections"], values["holdfast_report_polls"]
    told = {
        "memory": values["process_resident_memory_bytes"],
        "threads": values["holdfast_threads"],
        "open files": values["process_open_fds"] - connections,
        "sockets": values["holdfast_open_sockets"] - connections,
        "tasks": values["holdfast_tasks"] - connections - 3 * polls,
        "series": float(len(lines)),
        "report connections": connections,
        "report polls": polls,
    }
    return Sample("replica", f"{pod}/{start:.0f}", now - start, told, leads=values["holdfast_leader"] == 1)
