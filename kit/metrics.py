"""Counting requests for Prometheus, in a registry of the application's own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from stoa.telemetry import REQUEST_SECONDS, REQUESTS, REQUESTS_RUNNING

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
