"""Two processes of the operator, the leading one stopped by SIGSTOP for longer than its lease, then woken.

`HOLDFAST_PAUSE_S=60` (`make paused-leader`) stops it for a minute rather than 20 s.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.api.labels import ATTEMPT
from holdfast.cluster.lease import DURATION_S
from tests.cluster.test_process import JOB, House, until
from tests.support.apiserver import WRITES

PAUSE_S = float(os.environ.get("HOLDFAST_PAUSE_S", "20"))
WATCHED_S = 8.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.server.start()
    yield made
    await made.close()


def writes(house: House, name: str, since: int = 0) -> list[tuple[str, str]]:
    """Return what a replica asked to change since a place in the log, the lease left out."""
    log = house.server.agents[since:]
    found = [(method, path) for agent, method, path in log if agent.endswith(f"/{name}") and method in WRITES]
    return [(method, path) for method, path in found if "/leases" not in path]


@pytest.mark.timeout(PAUSE_S + 200)
async def test_a_leader_that_wakes_when_another_leads_writes_nothing(house: House) -> None:
    first = await house.start("op-0")
    await house.leading(first)
    second = await house.start("op-1")
    await second.ready()
    # It is stopped in the middle of a pass: with its request out, and the next ones to be sent.
    house.memory.faults.latency = lambda method, path: 1.0 if method == "POST" and path.endswith("/pods") else 0.0
    house.memory.put("trainingjobs", JOB)
    await until(lambda: any(path.endswith("/pods") for _, path in writes(house, "op-0")))
    first.process.send_signal(signal.SIGSTOP)
    house.memory.faults.latency = lambda method, path: 0.0
    stopped_at = asyncio.get_running_loop().time()
    assert PAUSE_S > DURATION_S
    await house.leading(second)
    await until(lambda: len(house.memory.all("pods")) == 2)
    house.memory.put("trainingjobs", {**JOB, "metadata": {"name": "k", "namespace": "ns"}})
    await until(lambda: len(house.memory.all("pods")) == 4)
    await asyncio.sleep(max(0.0, stopped_at + PAUSE_S - asyncio.get_running_loop().time()))

    before = {pod["metadata"]["uid"] for pod in house.memory.all("pods")}
    woken = len(house.server.agents)
    first.process.send_signal(signal.SIGCONT)
    # Work comes for both; only one of them may do it.
    house.memory.put("trainingjobs", {**JOB, "metadata": {"name": "l", "namespace": "ns"}})
    await until(lambda: len(house.memory.all("pods")) == 6)
    await asyncio.sleep(WATCHED_S)
    assert [item for item in house.server.agents[woken:] if item[0].endswith("/op-0")], "it is awake"
    assert writes(house, "op-0", woken) == []
    assert writes(house, "op-1", woken), "the new leader goes on"
    assert "lease.lost" in first.events()
    assert "holdfast_leader 0.0" in (await first.get("/metrics"))[1]
    assert before <= {pod["metadata"]["uid"] for pod in house.memory.all("pods")}
    assert len(house.memory.all("pods")) == 6
    assert {pod["metadata"]["labels"][ATTEMPT] for pod in house.memory.all("pods")} == {"1"}
    assert {job.get("status", {}).get("attempt", 1) for job in house.memory.all("trainingjobs")} == {1}
