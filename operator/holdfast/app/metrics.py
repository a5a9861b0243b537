"""The registry of the series that `series` defines, and what is counted while requests go by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from holdfast.app import series
from holdfast.app.series import Series
from holdfast.seams import ApiError, ApiTransport, Clock, WatchStream

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_TOTAL = "_total"

# One more series for each, that says when it was first counted: nobody asks for it.
disable_created_metrics()

Reading = Callable[[], float]
Readings = Callable[[], Mapping[str, float]]
M = TypeVar("M", Counter, Histogram)
_Parts = dict[tuple[str, ...], M]


class Metrics:
    """All series of one replica, in a registry of their own.

    What is counted as it happens is counted by `count` and `observe`; what can be read when it is scraped is handed to
    `read`, once a series.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._counted: _Parts[Counter] = {}
        self._observed: _Parts[Histogram] = {}

    def count(self, what: Series, *values: str, by: float = 1.0) -> None:
        """Add to a counter; `values` are those of its labels, in their order."""
        part_of(self._counted, self._counter, what, values).inc(by)

    def observe(self, what: Series, value: float, *values: str) -> None:
        """Add to a histogram."""
        part_of(self._observed, self._histogram, what, values).observe(value)

    def announce(self, *several: Series) -> None:
        """Show these counters and histograms from the start: one without labels at 0, one with labels as a name."""
        for what in several:
            if what.kind == "counter":
                self._counter(what)
            else:
                self._histogram(what)

    def read(self, what: Series, values: Reading | Readings) -> None:
        """Have a gauge or counter with at most one label computed when it is scraped."""
        self.registry.register(_Read(what, values))

    def render(self) -> bytes:
        """Return the text exposition."""
        return generate_latest(self.registry)

    def _counter(self, what: Series) -> Counter:
        if what.name not in self._counters:
            self._counters[what.name] = Counter(what.name, what.meaning, what.labels, registry=self.registry)
        return self._counters[what.name]

    def _histogram(self, what: Series) -> Histogram:
        if what.name not in self._histograms:
            self._histograms[what.name] = Histogram(
                what.name, what.meaning, what.labels, buckets=what.buckets, registry=self.registry
            )
        return self._histograms[what.name]


def part_of(parts: _Parts[M], whole: Callable[[Series], M], what: Series, values: tuple[str, ...]) -> M:
    """Return the part of a series that has these labels: looking it up anew is dearer than adding to it.

    What is not one of the words of its label is not remembered: there is no end to such.
    """
    if (part := parts.get((what.name, *values))) is None:
        words = _bounded(what, values)
        part = whole(what).labels(*words) if values else whole(what)
        if words == list(values):
            parts[(what.name, *values)] = part
    return part


class _Read(Collector):
    def __init__(self, what: Series, values: Reading | Readings) -> None:
        self._what = what
        self._values = values

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family()
        found = self._values()
        if isinstance(found, Mapping):
            for value, number in sorted(_merged(self._what, found).items()):
                family.add_metric((value,), number)
        else:
            family.add_metric((), found)
        yield family

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Name the family without computing it, which would need what is not wired yet."""
        yield self._family()

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        what = self._what
        if what.kind == "counter":
            return CounterMetricFamily(what.name.removesuffix(_TOTAL), what.meaning, labels=what.labels)
        return GaugeMetricFamily(what.name, what.meaning, labels=what.labels)


def _bounded(what: Series, values: tuple[str, ...]) -> list[str]:
    return [series.bounded(label, value) for label, value in zip(what.labels, values, strict=True)]


def _merged(what: Series, found: Mapping[str, float]) -> dict[str, float]:
    """Add up what the label cannot tell apart."""
    [label] = what.labels
    merged: dict[str, float] = {}
    for value, number in found.items():
        word = series.bounded(label, value)
        merged[word] = merged.get(word, 0.0) + number
    return merged


class MeasuredTransport:
    """An `ApiTransport` that counts and times the requests of another one. Watches count once, when they open."""

    def __init__(self, inner: ApiTransport, metrics: Metrics, clock: Clock) -> None:
        self._inner = inner
        self._metrics = metrics
        self._clock = clock

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float = 4.0,
        accept: str = "",
    ) -> bytes:
        """Pass the request on."""
        resource, single = resource_of(path)
        verb = _VERBS.get(method) or ("get" if single else "list")
        began = self._clock.monotonic()
        code = "200"
        try:
            return await self._inner.request(
                method, path, query=query, body=body, content_type=content_type, timeout_s=timeout_s, accept=accept
            )
        except ApiError as error:
            code = str(error.status)
            raise
        finally:
            self._metrics.count(series.API_REQUESTS, verb, resource, code)
            self._metrics.observe(series.API_SECONDS, self._clock.monotonic() - began, verb)

    def watch(
        self, path: str, *, query: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[WatchStream]:
        """Pass the watch on."""
        self._metrics.count(series.API_REQUESTS, "watch", resource_of(path)[0], "200")
        return self._inner.watch(path, query=query, idle_timeout_s=idle_timeout_s)


def resource_of(path: str) -> tuple[str, bool]:
    """Return the resource that an API path is about, with its subresource, and whether it names a single object."""
    words = path.strip("/").split("/")
    # /api/v1/... or /apis/GROUP/VERSION/...
    words = words[2 if words[0] == "api" else 3 :]
    if len(words) > 2 and words[0] == "namespaces":
        words = words[2:]
    if not words:
        return series.OTHER, False
    return "/".join([words[0], *words[2:]]), len(words) > 1
