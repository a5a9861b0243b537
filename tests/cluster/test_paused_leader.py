"""Two processes of the operator, the leading one stopped by SIGSTOP for longer than its lease, then woken.

`HOLDFAST_PAUSE_S=60` (`make paused-leader`) stops it for a minute rather than 20 s.
"""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from holdfast.api.labels import ATTEMPT
from holdfast.cluster.lease import DURATION_S
from tests.support.apiserver import WRITES
from tests.support.processes import JOB, Processes, until

PAUSE_S = float(os.environ.get("HOLDFAST_PAUSE_S", "20"))
WATCHED_S = 8.0


def writes(processes: Processes, name: str, since: int = 0) -> list[tuple[str, str]]:
    """Return what a replica asked to change since a place in the log, the lease left out."""
    log = processes.server.agents[since:]
    found = [(method, path) for agent, method, path in log if agent.endswith(f"/{name}") and method in WRITES]
    return [(method, path) for method, path in found if "/leases" not in path]


@pytest.mark.timeout(PAUSE_S + 200)
async def test_a_leader_that_wakes_when_another_leads_writes_nothing(processes: Processes) -> None:
    first = await processes.start("op-0")
    await processes.leading(first)
    second = await processes.start("op-1")
    await second.ready()
    # It is stopped in the middle of a pass: with its request out, and the next ones to be sent.
    processes.memory.faults.latency = lambda method, path: 1.0 if method == "POST" and path.endswith("/pods") else 0.0
    processes.memory.put("trainingjobs", JOB)
    await until(lambda: any(path.endswith("/pods") for _, path in writes(processes, "op-0")))
    first.process.send_signal(signal.SIGSTOP)
    processes.memory.faults.latency = lambda method, path: 0.0
    stopped_at = asyncio.get_running_loop().time()
    assert PAUSE_S > DURATION_S
    await processes.leading(second)
    await until(lambda: len(processes.memory.all("pods")) == 2)
    processes.memory.put("trainingjobs", {**JOB, "metadata": {"name": "k", "namespace": "ns"}})
    await until(lambda: len(processes.memory.all("pods")) == 4)
    await asyncio.sleep(max(0.0, stopped_at + PAUSE_S - asyncio.get_running_loop().time()))

    before = {pod["metadata"]["uid"] for pod in processes.memory.all("pods")}
    woken = len(processes.server.agents)
    first.process.send_signal(signal.SIGCONT)
    # Work comes for both; only one of them may do it.
    processes.memory.put("trainingjobs", {**JOB, "metadata": {"name": "l", "namespace": "ns"}})
    await until(lambda: len(processes.memory.all("pods")) == 6)
    await asyncio.sleep(WATCHED_S)
    assert [item for item in processes.server.agents[woken:] if item[0].endswith("/op-0")], "it is awake"
    assert writes(processes, "op-0", woken) == []
    assert writes(processes, "op-1", woken), "the new leader goes on"
    assert "lease.lost" in first.events()
    assert "holdfast_leader 0.0" in (await first.get("/metrics"))[1]
    assert before <= {pod["metadata"]["uid"] for pod in processes.memory.all("pods")}
    assert len(processes.memory.all("pods")) == 6
    assert {pod["metadata"]["labels"][ATTEMPT] for pod in processes.memory.all("pods")} == {"1"}
    assert {job.get("status", {}).get("attempt", 1) for job in processes.memory.all("trainingjobs")} == {1}
