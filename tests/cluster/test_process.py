"""The operator as a process of its own, Kopf included, against the API server in memory over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.app import log_events, series
from holdfast.app.handlers import FINALIZER
from holdfast.seams import ApiError
from tests.support.apiserver_faults import matching
from tests.support.apiserver_store import Document
from tests.support.processes import JOB, Processes, until

# A list and a watch of it look the same here.
JOBS = ("GET", "/apis/holdfast.dev/v1alpha1/trainingjobs")


async def test_it_starts_serves_and_stops(processes: Processes) -> None:
    job = {**JOB, "metadata": {**JOB["metadata"], "finalizers": [FINALIZER.replace("kopf", "somebody")]}}
    processes.memory.put("trainingjobs", job)
    operator = await processes.start("op-0")
    await processes.leading(operator)
    await until(lambda: len(processes.memory.all("pods")) == 2)
    assert (await operator.get("/healthz"))[0] == 200
    assert (await operator.get("/readyz"))[0] == 200
    metrics = (await operator.get("/metrics"))[1]
    assert "holdfast_leader 1.0" in metrics
    assert 'holdfast_api_requests_total{code="200",resource="pods",verb="create"}' in metrics
    assert 'holdfast_trainingjobs_waiting{reason="Unschedulable"} 0.0' in metrics

    took = await operator.stop()
    assert operator.process.returncode == 0
    assert took < 4, f"stopping took {took:.1f} s"
    lease = processes.memory.find("leases", "system", "holdfast-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "", "the next leader need not wait"
    assert processes.memory.all("trainingjobs")[0]["metadata"]["finalizers"] == job["metadata"]["finalizers"]


async def test_the_lease_has_connections_that_nothing_else_uses(processes: Processes) -> None:
    processes.memory.put("trainingjobs", JOB)
    operator = await processes.start("op-0")
    await processes.leading(operator)
    await until(lambda: len(processes.memory.all("pods")) == 2)
    shared = [paths for paths in processes.server.connections.values() if any("/leases" in path for path in paths)]
    assert shared
    assert all("/leases" in path for paths in shared for path in paths)
    # The others are used for more than one thing: with one pool the Lease would be among it.
    assert [paths for paths in processes.server.connections.values() if len(paths) > 1]


async def test_kopf_wakes_and_writes_nothing(processes: Processes) -> None:
    operator = await processes.start("op-0")
    await processes.leading(operator)
    # Its watches begin once the kinds are known to be served.
    await until(lambda: processes.kopf_requests().count(JOBS) >= 2)
    for number in range(5):
        processes.memory.put("trainingjobs", {**JOB, "metadata": {"name": f"j-{number}", "namespace": "ns"}})
    await until(lambda: len(processes.memory.all("pods")) == 10)
    processes.memory.remove("trainingjobs", "ns", "j-0")
    await until(lambda: len(processes.memory.all("pods")) == 8)
    requests = processes.kopf_requests()
    assert requests.count(("GET", "/apis/holdfast.dev/v1alpha1/trainingjobs")) >= 2, "Kopf listed the jobs and watches"
    assert {method for method, _ in requests} == {"GET"}
    for job in processes.memory.all("trainingjobs"):
        assert "annotations" not in job["metadata"]
        assert "finalizers" not in job["metadata"]


async def test_a_leader_that_stops_hands_over_at_once(processes: Processes) -> None:
    first = await processes.start("op-0")
    await processes.leading(first)
    second = await processes.start("op-1")
    await second.ready()
    assert "holdfast_leader 0.0" in (await second.get("/metrics"))[1]
    await first.stop()
    processes.memory.put("trainingjobs", JOB)
    await processes.leading(second)
    await until(lambda: len(processes.memory.all("pods")) == 2)


async def test_an_api_server_that_goes_away_is_waited_for(processes: Processes) -> None:
    operator = await processes.start("op-0")
    await processes.leading(operator)
    await processes.server.stop()
    await asyncio.sleep(2)
    assert (await operator.get("/healthz"))[0] == 200, "starting anew would not bring the API server back"
    await processes.server.start()
    processes.memory.put("trainingjobs", JOB)
    await until(lambda: len(processes.memory.all("pods")) == 2, within_s=40)
    assert operator.process.returncode is None


async def test_the_metrics_are_exactly_the_documented_ones(processes: Processes) -> None:
    processes.memory.put("trainingjobs", JOB)
    operator = await processes.start("op-0")
    await processes.leading(operator)
    await until(lambda: len(processes.memory.all("pods")) == 2)
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


async def test_the_look_inside_of_a_real_replica(processes: Processes) -> None:
    secret = {"name": "TOKEN", "value": "hush-hush"}
    job: Document = json.loads(json.dumps(JOB))
    job["spec"]["template"]["spec"]["containers"][0]["env"] = [secret]
    processes.memory.put("trainingjobs", job)
    operator = await processes.start("op-0")
    await processes.leading(operator)
    await until(lambda: len(processes.memory.all("pods")) == 2)
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


async def test_every_log_line_has_a_documented_event(processes: Processes) -> None:
    processes.memory.put("trainingjobs", JOB)
    operator = await processes.start("op-0", HOLDFAST_LOG_LEVEL="DEBUG")
    await processes.leading(operator)
    await until(lambda: len(processes.memory.all("pods")) == 2)
    await operator.stop()
    assert set(operator.events()) <= log_events.EVENTS.keys() | {log_events.LIBRARY}
    assert {"operator.started", "lease.acquired", "engine.leads", log_events.LIBRARY} <= set(operator.events())


async def test_kinds_that_are_not_served_yet_are_waited_for_and_are_no_error(processes: Processes) -> None:
    """For seconds after a CRD was created, the API server answers 429 to lists of its objects."""
    served = [False]
    processes.memory.faults.refuse(
        lambda method, path: not served[0] and path.endswith("/trainingjobs"),
        ApiError(429, "TooManyRequests", "storage is (re)initializing"),
        times=1000,
    )
    operator = await processes.start("op-0")
    await until(lambda: "lease.acquired" in operator.events())
    await asyncio.sleep(2)
    served[0] = True
    processes.memory.put("trainingjobs", JOB)
    await processes.leading(operator)
    await until(lambda: len(processes.memory.all("pods")) == 2)
    await until(lambda: processes.kopf_requests().count(JOBS) >= 2)
    assert operator.events().count("watch.failed") >= 2
    assert [line for line in operator.lines if line.get("level") == "ERROR"] == []


async def test_a_stop_while_kinds_are_not_served_is_quick_and_gives_the_lease_back(processes: Processes) -> None:
    processes.memory.faults.refuse(
        matching("GET", "/trainingjobs"), ApiError(429, "TooManyRequests", "storage is (re)initializing"), times=1000
    )
    operator = await processes.start("op-0")
    await until(lambda: "lease.acquired" in operator.events())
    assert await operator.stop() < 4
    lease = processes.memory.find("leases", "system", "holdfast-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HOLDFAST_SIDECAR_IMAGE": ""}, "HOLDFAST_SIDECAR_IMAGE is not set"),
        ({"KUBECONFIG": "/nowhere"}, "/nowhere is no kubeconfig"),
    ],
)
async def test_wrong_settings_end_it_with_a_clear_word(
    processes: Processes, environment: dict[str, str], message: str
) -> None:
    operator = await processes.start("op-0", **environment)
    assert await operator.process.wait() == 2
    await processes.logs[0]
    assert operator.events() == ["operator.bad_settings"] or operator.events()[1:] == ["operator.bad_settings"]
    assert message in operator.lines[-1]["error"]
    assert "Traceback" not in str(operator.lines)
