"""Prometheus metrics. Labels come from closed sets only, so the number of series is bounded by the code, not by use."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from holdfast.api.status import Phase
from holdfast.seams import ApiError, ApiTransport, Clock, WatchStream

_SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 4.0, 15.0)
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_PHASES = frozenset(phase.value for phase in Phase)


class Metrics:
    """All series of the operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passes = Histogram(
            "holdfast_reconcile_seconds",
            "Duration of one pass for one object.",
            ("result",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.api_calls = Counter(
            "holdfast_api_requests_total",
            "Requests to the API server by verb and status code (0: no answer).",
            ("verb", "code"),
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "holdfast_api_request_seconds",
            "Duration of requests to the API server by verb.",
            ("verb",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.reports = Counter(
            "holdfast_reports_total",
            "Requests to the report endpoint by status code.",
            ("code",),
            registry=self.registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge without labels that is computed when it is scraped."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def gauges(self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        """Add a gauge with one label; `values` returns every series when it is scraped."""
        self.registry.register(_Family(name, text, label, values))

    def render(self) -> bytes:
        """Return the text exposition."""
        return generate_latest(self.registry)


class _Family(Collector):
    def __init__(self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._values = values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._text, labels=(self._label,))
        for value, number in sorted(self._values().items()):
            family.add_metric((value,), number)
        yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the family without computing it, which would need what is not wired yet."""
        yield GaugeMetricFamily(self._name, self._text, labels=(self._label,))


def phases(values: Iterator[str]) -> dict[str, float]:
    """Count phases; what is none of the known ones counts as `Other`."""
    tally = Tally(value if value in _PHASES else "Other" for value in values)
    return {phase: float(count) for phase, count in tally.items()}


class MeasuredTransport:
    """An `ApiTransport` that counts and times the requests of another one. Watches count once, when they open."""

    def __init__(self, inner: ApiTransport, metrics: Metrics, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        # Looking a series up by its labels is dear at thousands of requests a second.
        self._count = cache(metrics.api_calls.labels)
        self._seconds = cache(metrics.api_seconds.labels)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float = 4.0,
    ) -> bytes:
        """Pass the request on."""
        verb = _VERBS.get(method, "other")
        began = self._clock.monotonic()
        code = "200"
        try:
            return await self._inner.request(
                method, path, query=query, body=body, content_type=content_type, timeout_s=timeout_s
            )
        except ApiError as error:
            code = str(error.status)
            raise
        finally:
            self._count(verb, code).inc()
            self._seconds(verb).observe(self._clock.monotonic() - began)

    def watch(
        self, path: str, *, query: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[WatchStream]:
        """Pass the watch on."""
        self._count("watch", "200").inc()
        return self._inner.watch(path, query=query, idle_timeout_s=idle_timeout_s)
