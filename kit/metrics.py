"""Counting requests for Prometheus, in a registry of the application's own; and what others have counted."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]  # it is not annotated

from stoa.telemetry import REQUEST_SECONDS, REQUESTS, REQUESTS_RUNNING, Sample

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """One for an application; `observe` gives each server its own counters."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            REQUESTS, "Requests served.", ("server", "method", "tool", "outcome"), registry=self._registry
        )
        self.seconds = Histogram(
            REQUEST_SECONDS, "How long requests took.", ("server", "method", "tool"), registry=self._registry
        )
        self.running = Gauge(REQUESTS_RUNNING, "Requests being served.", ("server",), registry=self._registry)

    def __repr__(self) -> str:
        return "<Metrics>"

    def add(self, source: Callable[[], Iterable[Sample]]) -> None:
        """Show these series, too, as they are whenever somebody looks."""
        self._registry.register(_Collected(source))

    def exposition(self) -> bytes:
        return generate_latest(self._registry)

    def observer(
        self, server: str, *, knows_method: Callable[[str], bool], knows_tool: Callable[[str], bool]
    ) -> "Counters":
        """Counters of one server. Methods and tools that it does not have are counted as one: names come from outside,
        and each would make a series that is never forgotten.
        """
        return Counters(self, server, knows_method, knows_tool)


class Counters:
    """The `Observer` of one server. Label children are kept: looking them up costs more than counting."""

    def __init__(
        self, metrics: Metrics, server: str, knows_method: Callable[[str], bool], knows_tool: Callable[[str], bool]
    ) -> None:
        self._metrics = metrics
        self._server = server
        self._knows_method = knows_method
        self._knows_tool = knows_tool
        self._running = metrics.running.labels(server)
        self._children: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def __repr__(self) -> str:
        return f"<Counters of {self._server!r}: {len(self._children)} series>"

    def started(self) -> None:
        self._running.inc()

    def ended(self, method: str, tool: str, outcome: str, seconds: float) -> None:
        self._running.dec()
        key = (method, tool, outcome)
        children = self._children.get(key)
        if children is None:
            method = method if self._knows_method(method) else "other"
            tool = tool if not tool or self._knows_tool(tool) else "other"
            children = (
                self._metrics.requests.labels(self._server, method, tool, outcome),
                self._metrics.seconds.labels(self._server, method, tool),
            )
            if method != "other" and tool != "other":
                self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)


class _Collected(Collector):
    """Samples as the library's families. The label names of a series are those of its first sample."""

    def __init__(self, source: Callable[[], Iterable[Sample]]) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        return ()  # asked when it is registered, long before there is anything to tell

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for sample in self._source():
            names = tuple(sample.labels)
            if sample.name not in families:
                families[sample.name] = _FAMILIES[sample.kind](sample.name, sample.help, labels=names)
            _add(families[sample.name], sample)
        yield from families.values()


_FAMILIES: dict[str, Callable[..., Metric]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _add(family: Metric, sample: Sample) -> None:
    values = list(sample.labels.values())
    if isinstance(family, HistogramMetricFamily):
        buckets = [(floatToGoString(bound), float(count)) for bound, count in sample.buckets]
        family.add_metric(values, buckets, sample.value)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        family.add_metric(values, sample.value)
