"""The operator as a process of its own, Kopf included, against the API server in memory over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.app import log_events, series
from holdfast.app.handlers import FINALIZER
from holdfast.seams import ApiError
from holdfast.seams.real import SystemClock, TaskSpawner
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.apiserver_http import HttpApiServer
from tests.support.apiserver_store import Document

JOB: Document = {
    "metadata": {"name": "j", "namespace": "ns"},
    "spec": {
        "accelerator": {"cpu": {"workers": 2}},
        "template": {"spec": {"containers": [{"name": "trainer", "image": "busybox"}]}},
    },
}


# A list and a watch of it look the same here.
JOBS = ("GET", "/apis/holdfast.dev/v1alpha1/trainingjobs")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(predicate: Callable[[], bool], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        for _ in iter(predicate, True):
            await asyncio.sleep(0.02)


@dataclass
class Operator:
    """One process, its log lines and its ports."""

    process: asyncio.subprocess.Process
    http_port: int
    lines: list[Document] = field(default_factory=list)

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(json.loads(line) if line.startswith(b"{") else {"event": "text", "text": line.decode()})

    def events(self) -> list[str]:
        return [str(line["event"]) for line in self.lines]

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.http_port}{path}") as got:
            return got.status, await got.text()

    async def ready(self, within_s: float = 30) -> None:
        """Wait until the process says that it is ready."""
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    if (await self.get("/readyz"))[0] == 200:
                        return
                await asyncio.sleep(0.1)

    async def stop(self, number: int = signal.SIGTERM) -> float:
        began = SystemClock().monotonic()
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()
        return SystemClock().monotonic() - began


class House:
    """The API server and the operators of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.memory = MemoryApiServer(SystemClock(), TaskSpawner())
        self.server = HttpApiServer(self.memory)
        self.operators: list[Operator] = []
        self.logs: list[asyncio.Task[None]] = []

    async def start(self, name: str, **environment: str) -> Operator:
        port = free_port()
        settings = {
            "KUBECONFIG": str(self.server.kubeconfig(self.directory)),
            "HOLDFAST_NAMESPACE": "system",
            "HOLDFAST_POD_NAME": name,
            "HOLDFAST_POD_IP": "127.0.0.1",
            "HOLDFAST_SIDECAR_IMAGE": "sidecar",
            "HOLDFAST_HTTP_PORT": str(port),
            "PYTHONPATH": "operator",
            **environment,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast.app.main", env={**os.environ, **settings}, stderr=asyncio.subprocess.PIPE
        )
        operator = Operator(process, port)
        self.operators.append(operator)
        self.logs.append(asyncio.ensure_future(operator.read_log()))
        return operator

    async def leading(self, operator: Operator) -> None:
        await until(lambda: "engine.leads" in operator.events() or operator.process.returncode is not None)
        assert operator.process.returncode is None, operator.lines

    def kopf_requests(self) -> list[tuple[str, str]]:
        return [(method, path) for agent, method, path in self.server.agents if "kopf" in agent]

    async def close(self) -> None:
        for operator in self.operators:
            await operator.stop(signal.SIGKILL)
        await asyncio.gather(*self.logs)
        await self.server.stop()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.server.start()
    yield made
    await made.close()


async def test_it_starts_serves_and_stops(house: House) -> None:
    job = {**JOB, "metadata": {**JOB["metadata"], "finalizers": [FINALIZER.replace("kopf", "somebody")]}}
    house.memory.put("trainingjobs", job)
    operator = await house.start("op-0")
    await house.leading(operator)
    await until(lambda: len(house.memory.all("pods")) == 2)
    assert (await operator.get("/healthz"))[0] == 200
    assert (await operator.get("/readyz"))[0] == 200
    metrics = (await operator.get("/metrics"))[1]
    assert "holdfast_leader 1.0" in metrics
    assert 'holdfast_api_requests_total{code="200",resource="pods",verb="create"}' in metrics
    assert 'holdfast_trainingjobs_waiting{reason="Unschedulable"} 0.0' in metrics

    took = await operator.stop()
    assert operator.process.returncode == 0
    assert took < 4, f"stopping took {took:.1f} s"
    lease = house.memory.find("leases", "system", "holdfast-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "", "the next leader need not wait"
    assert house.memory.all("trainingjobs")[0]["metadata"]["finalizers"] == job["metadata"]["finalizers"]


async def test_the_lease_has_connections_that_nothing_else_uses(house: House) -> None:
    house.memory.put("trainingjobs", JOB)
    operator = await house.start("op-0")
    await house.leading(operator)
    await until(lambda: len(house.memory.all("pods")) == 2)
    shared = [paths for paths in house.server.connections.values() if any("/leases" in path for path in paths)]
    assert shared
    assert all("/leases" in path for paths in shared for path in paths)
    # The others are used for more than one thing: with one pool the Lease would be among it.
    assert [paths for paths in house.server.connections.values() if len(paths) > 1]


async def test_kopf_wakes_and_writes_nothing(house: House) -> None:
    operator = await house.start("op-0")
    await house.leading(operator)
    # Its watches begin once the kinds are known to be served.
    await until(lambda: house.kopf_requests().count(JOBS) >= 2)
    for number in range(5):
        house.memory.put("trainingjobs", {**JOB, "metadata": {"name": f"j-{number}", "namespace": "ns"}})
    await until(lambda: len(house.memory.all("pods")) == 10)
    house.memory.remove("trainingjobs", "ns", "j-0")
    await until(lambda: len(house.memory.all("pods")) == 8)
    requests = house.kopf_requests()
    assert requests.count(("GET", "/apis/holdfast.dev/v1alpha1/trainingjobs")) >= 2, "Kopf listed the jobs and watches"
    assert {method for method, _ in requests} == {"GET"}
    for job in house.memory.all("trainingjobs"):
        assert "annotations" not in job["metadata"]
        assert "finalizers" not in job["metadata"]


async def test_a_leader_that_stops_hands_over_at_once(house: House) -> None:
    first = await house.start("op-0")
    await house.leading(first)
    second = await house.start("op-1")
    await second.ready()
    assert "holdfast_leader 0.0" in (await second.get("/metrics"))[1]
    await first.stop()
    house.memory.put("trainingjobs", JOB)
    await house.leading(second)
    await until(lambda: len(house.memory.all("pods")) == 2)


async def test_an_api_server_that_goes_away_is_waited_for(house: House) -> None:
    operator = await house.start("op-0")
    await house.leading(operator)
    await house.server.stop()
    await asyncio.sleep(2)
    assert (await operator.get("/healthz"))[0] == 200, "starting anew would not bring the API server back"
    await house.server.start()
    house.memory.put("trainingjobs", JOB)
    await until(lambda: len(house.memory.all("pods")) == 2, within_s=40)
    assert operator.process.returncode is None


async def test_the_metrics_are_exactly_the_documented_ones(house: House) -> None:
    house.memory.put("trainingjobs", JOB)
    operator = await house.start("op-0")
    await house.leading(operator)
    await until(lambda: len(house.memory.all("pods")) == 2)
    found = {family.name: family for family in text_string_to_metric_families((await operator.get("/metrics"))[1])}
    wanted = {one.name.removesuffix("_total"): one for one in series.ALL}
    assert sorted(found) == sorted(wanted)
    for name, one in wanted.items():
        assert found[name].type == one.kind
        assert one in series.PROCESS or found[name].documentation == one.meaning
        for sample in found[name].samples:
            assert set(sample.labels) - {"le"} == set(one.labels), sample
            for label in one.labels:
                words = series.LABELS[label]
                assert words is None or sample.labels[label] in words, sample


async def test_the_look_inside_of_a_real_replica(house: House) -> None:
    secret = {"name": "TOKEN", "value": "hush-hush"}
    job: Document = json.loads(json.dumps(JOB))
    job["spec"]["template"]["spec"]["containers"][0]["env"] = [secret]
    house.memory.put("trainingjobs", job)
    operator = await house.start("op-0")
    await house.leading(operator)
    await until(lambda: len(house.memory.all("pods")) == 2)
    code, text = await operator.get("/debug/state")
    state = json.loads(text)
    assert code == 200
    assert state["leading"]
    assert state["leader"] == state["identity"] == "op-0_127.0.0.1"
    assert state["lease"]["leftSeconds"] > 0
    assert state["caches"]["pods"]["objects"] == 2
    assert state["objects"]["trainingjobs"]["items"][0]["object"] == "ns/j"
    assert state["passes"]
    followed = {name.removeprefix("reflector-") for name in state["process"]["tasks"] if name.startswith("reflector-")}
    assert state["caches"].keys() == followed, "the staleness of each is told"
    assert {"heartbeat", "worker", "lease"} <= state["process"]["tasks"].keys()
    assert state["process"]["deadTasks"] == []
    code, one = await operator.get("/debug/state?object=ns/j")
    assert (code, json.loads(one)["podCount"]) == (200, 2)
    assert "hush-hush" not in text + one
    assert (await operator.get("/debug/state?object=ns/other"))[0] == 404
    code, text = await operator.get("/debug/state?limit=many")
    assert (code, json.loads(text)["error"]) == (400, "limit must be a whole number from 0 to 1000")


async def test_every_log_line_has_a_documented_event(house: House) -> None:
    house.memory.put("trainingjobs", JOB)
    operator = await house.start("op-0", HOLDFAST_LOG_LEVEL="DEBUG")
    await house.leading(operator)
    await until(lambda: len(house.memory.all("pods")) == 2)
    await operator.stop()
    assert set(operator.events()) <= log_events.EVENTS.keys() | {log_events.LIBRARY}
    assert {"operator.started", "lease.acquired", "engine.leads", log_events.LIBRARY} <= set(operator.events())


async def test_kinds_that_are_not_served_yet_are_waited_for_and_are_no_error(house: House) -> None:
    """For seconds after a CRD was created, the API server answers 429 to lists of its objects."""
    served = [False]
    house.memory.faults.refuse(
        lambda method, path: not served[0] and path.endswith("/trainingjobs"),
        ApiError(429, "TooManyRequests", "storage is (re)initializing"),
        times=1000,
    )
    operator = await house.start("op-0")
    await until(lambda: "lease.acquired" in operator.events())
    await asyncio.sleep(2)
    served[0] = True
    house.memory.put("trainingjobs", JOB)
    await house.leading(operator)
    await until(lambda: len(house.memory.all("pods")) == 2)
    await until(lambda: house.kopf_requests().count(JOBS) >= 2)
    assert operator.events().count("watch.failed") >= 2
    assert [line for line in operator.lines if line.get("level") == "ERROR"] == []


async def test_a_stop_while_kinds_are_not_served_is_quick_and_gives_the_lease_back(house: House) -> None:
    house.memory.faults.refuse(
        matching("GET", "/trainingjobs"), ApiError(429, "TooManyRequests", "storage is (re)initializing"), times=1000
    )
    operator = await house.start("op-0")
    await until(lambda: "lease.acquired" in operator.events())
    assert await operator.stop() < 4
    lease = house.memory.find("leases", "system", "holdfast-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HOLDFAST_SIDECAR_IMAGE": ""}, "HOLDFAST_SIDECAR_IMAGE is not set"),
        ({"KUBECONFIG": "/nowhere"}, "/nowhere is no kubeconfig"),
    ],
)
async def test_wrong_settings_end_it_with_a_clear_word(house: House, environment: dict[str, str], message: str) -> None:
    operator = await house.start("op-0", **environment)
    assert await operator.process.wait() == 2
    await house.logs[0]
    assert operator.events() == ["operator.bad_settings"] or operator.events()[1:] == ["operator.bad_settings"]
    assert message in operator.lines[-1]["error"]
    assert "Traceback" not in str(operator.lines)
