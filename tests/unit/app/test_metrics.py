"""Metrics count what happened, under labels that are bounded."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter

from holdfast.app import series
from holdfast.app.metrics import MeasuredTransport, Metrics, part_of, resource_of
from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededSpawner, VirtualClock


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_requests_are_counted_by_verb_resource_and_code_and_timed() -> None:
    clock = VirtualClock()
    server = MemoryApiServer(clock, SeededSpawner())
    metrics = Metrics()
    transport = MeasuredTransport(server, metrics, clock)
    server.put("pods", {"metadata": {"name": "a", "namespace": "ns"}})
    await transport.request("GET", "/api/v1/pods")
    server.faults.refuse(matching("DELETE"), ApiError(0, "Unreachable", ""))
    for path in ("/api/v1/namespaces/ns/pods/a", "/api/v1/namespaces/ns/pods/b"):
        with pytest.raises(ApiError):
            await transport.request("DELETE" if path.endswith("a") else "GET", path)
    async with transport.watch("/api/v1/pods", query={"resourceVersion": "200"}, idle_timeout_s=5):
        pass
    requests = "holdfast_api_requests_total"
    assert value(metrics, requests, verb="list", resource="pods", code="200") == 1
    assert value(metrics, requests, verb="get", resource="pods", code="404") == 1
    assert value(metrics, requests, verb="delete", resource="pods", code="0") == 1
    assert value(metrics, requests, verb="watch", resource="pods", code="200") == 1
    assert value(metrics, "holdfast_api_request_seconds_count", verb="get") == 1


@pytest.mark.parametrize(
    ("path", "resource", "single"),
    [
        ("/api/v1/pods", "pods", False),
        ("/api/v1/namespaces/ns/pods/a", "pods", True),
        ("/api/v1/namespaces/ns/services", "services", False),
        ("/api/v1/nodes/n", "nodes", True),
        ("/apis/holdfast.dev/v1alpha1/trainingjobs", "trainingjobs", False),
        ("/apis/holdfast.dev/v1alpha1/namespaces/ns/trainingjobs/j/status", "trainingjobs/status", True),
        ("/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", "leases", True),
        ("/apis/authentication.k8s.io/v1/tokenreviews", "tokenreviews", False),
        ("/api/v1/namespaces/ns", "namespaces", True),
        ("/openid/v1/jwks", "other", False),
        ("/version", "other", False),
    ],
)
def test_a_path_is_about_a_resource(path: str, resource: str, single: bool) -> None:
    assert resource_of(path) == (resource, single)


def test_gauges_are_computed_when_scraped() -> None:
    metrics = Metrics()
    depth, objects = [1.0], {"pods": 1.0}
    metrics.read(series.QUEUE_DEPTH, lambda: depth[0])
    metrics.read(series.WATCHED_OBJECTS, lambda: objects)
    depth[0] = 7.0
    objects["nodes"] = 3.0
    text = metrics.render().decode()
    assert "holdfast_queue_depth 7.0" in text
    assert 'holdfast_watched_objects{resource="nodes"} 3.0' in text


def test_words_that_nobody_knows_make_no_series_of_their_own() -> None:
    metrics = Metrics()
    metrics.read(series.JOBS, lambda: {"Running": 2.0, "Weird-1": 1.0, "Weird-2": 1.0})
    for code in ("200", "599", "600", "x", "-1"):
        metrics.count(series.REPORTS, code)
    for cause in ("NodeLost", "Weird-1", "Weird-2"):
        metrics.count(series.ATTEMPTS_ENDED, cause)
    assert value(metrics, "holdfast_trainingjobs", phase="Running") == 2
    assert value(metrics, "holdfast_trainingjobs", phase="other") == 2
    assert value(metrics, "holdfast_reports_total", code="599") == 1
    assert value(metrics, "holdfast_reports_total", code="other") == 3
    assert value(metrics, "holdfast_attempts_ended_total", cause="NodeLost") == 1
    assert value(metrics, "holdfast_attempts_ended_total", cause="other") == 2


def test_only_parts_of_which_there_are_few_are_remembered() -> None:
    what = series.ATTEMPTS_ENDED
    counter = Counter(what.name, what.meaning, what.labels, registry=CollectorRegistry())
    parts: dict[tuple[str, ...], Counter] = {}
    for cause in ("NodeLost", "NodeLost", *(f"whatever a pod says {number}" for number in range(9))):
        part_of(parts, lambda _: counter, what, (cause,)).inc()
    assert list(parts) == [(what.name, "NodeLost")]
    told = {sample.labels["cause"]: sample.value for family in counter.collect() for sample in family.samples}
    assert told == {"NodeLost": 2, "other": 9}
