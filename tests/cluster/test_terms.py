"""Two processes of the operator that hand the lead to and fro: a term leaves no task, socket or thread behind."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.apiserver_store import Document
from tests.support.processes import JOB, Operator, Processes, until

TERMS = 10
# Noise: a wait that is just being begun anew, a connection that a burst needed.
MORE = {"tasks": 2, "threads": 0, "sockets": 4}


async def state(operator: Operator) -> Document:
    found: Document = json.loads((await operator.get("/debug/state"))[1])
    return found


def used(seen: Document) -> dict[str, float]:
    process = seen["process"]
    return {"tasks": sum(process["tasks"].values()), "threads": process["threads"], "sockets": process["sockets"]}


async def hand_over(processes: Processes, heir: Operator, other: Operator) -> None:
    """Write another replica into the lease, and wait until it leads alone."""
    identity = (await state(heir))["identity"]
    processes.memory.merge("leases", "system", "holdfast-operator", {"spec": {"holderIdentity": identity}})
    async with asyncio.timeout(30):
        while True:
            if (await state(heir))["leading"] and not (await state(other))["leading"]:
                return
            await asyncio.sleep(0.1)


async def pods(processes: Processes, count: int) -> None:
    await until(lambda: len(processes.memory.all("pods")) == count)


@pytest.mark.timeout(180)
async def test_a_term_leaves_nothing_behind(processes: Processes) -> None:
    first = await processes.start("op-0")
    await processes.leading(first)
    second = await processes.start("op-1")
    await second.ready()
    leads, stands_by = first, second
    seen: dict[tuple[int, bool], list[Document]] = {}
    for term in range(TERMS):
        # Some work in each, and some of it under way when the term ends.
        for number in range(5):
            processes.memory.put("trainingjobs", {**JOB, "metadata": {"name": f"j-{term}-{number}", "namespace": "ns"}})
        await pods(processes, 10 * (term + 1))
        await asyncio.sleep(1)
        for operator in (leads, stands_by):
            seen.setdefault((operator.http_port, operator is leads), []).append(await state(operator))
        processes.memory.put("trainingjobs", {**JOB, "metadata": {"name": f"late-{term}", "namespace": "ns"}})
        await hand_over(processes, stands_by, leads)
        processes.memory.remove("trainingjobs", "ns", f"late-{term}")
        await pods(processes, 10 * (term + 1))
        leads, stands_by = stands_by, leads

    for (_, led), looks in seen.items():
        # What it takes to lead is begun with the first term; the standby's first look was before it had led at all.
        before, after = used(looks[1]), used(looks[-1])
        assert {what: after[what] - before[what] for what in MORE if after[what] - before[what] > MORE[what]} == {}
        for look in looks:
            assert look["process"]["tasks"].get("worker", 0) == (32 if led else 0)
            assert look["process"]["deadTasks"] == []
