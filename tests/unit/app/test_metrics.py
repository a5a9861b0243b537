"""Metrics count what happened, under labels that are bounded."""

from __future__ import annotations

import pytest

from holdfast.app.metrics import MeasuredTransport, Metrics, phases
from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededSpawner, VirtualClock


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_requests_are_counted_by_verb_and_code_and_timed() -> None:
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
    assert value(metrics, "holdfast_api_requests_total", verb="get", code="200") == 1
    assert value(metrics, "holdfast_api_requests_total", verb="get", code="404") == 1
    assert value(metrics, "holdfast_api_requests_total", verb="delete", code="0") == 1
    assert value(metrics, "holdfast_api_requests_total", verb="watch", code="200") == 1
    assert value(metrics, "holdfast_api_request_seconds_count", verb="get") == 2


def test_gauges_are_computed_when_scraped() -> None:
    metrics = Metrics()
    state = {"depth": 1.0, "pods": {"a": 1.0}}
    metrics.gauge("holdfast_depth", "Depth.", lambda: float(state["depth"]))  # type: ignore[arg-type]
    metrics.gauges("holdfast_objects", "Objects.", "resource", lambda: state["pods"])  # type: ignore[arg-type,return-value]
    state["depth"], state["pods"] = 7.0, {"a": 2.0, "b": 3.0}
    text = metrics.render().decode()
    assert "holdfast_depth 7.0" in text
    assert 'holdfast_objects{resource="b"} 3.0' in text


def test_phases_that_nobody_knows_count_as_one() -> None:
    assert phases(iter(["Running", "Running", "Weird-1", "Weird-2"])) == {"Running": 2.0, "Other": 2.0}
