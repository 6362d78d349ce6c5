"""Names of spans and metrics, in one room because the GenAI and MCP conventions are still moving; and a measured value
on its way to whoever prints it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "POOL_BUSY",
    "POOL_BYTES",
    "POOL_CIRCUIT",
    "POOL_CIRCUIT_TRIPS",
    "POOL_CONNECTIONS",
    "POOL_EXTRA",
    "POOL_HEALTHY",
    "POOL_HELP",
    "POOL_MESSAGES",
    "POOL_PROBES",
    "POOL_RECONNECTS",
    "POOL_RECYCLED",
    "POOL_REFUSED",
    "POOL_REQUESTS",
    "POOL_REQUEST_SECONDS",
    "POOL_STARTS_FAILED",
    "POOL_USED",
    "POOL_WAITED",
    "POOL_WAITING",
    "PROJECTION_APPLIED",
    "PROJECTION_DEAD",
    "PROJECTION_FAILURES",
    "PROJECTION_HELP",
    "PROJECTION_LAG_EVENTS",
    "PROJECTION_LAG_SECONDS",
    "PROJECTION_PARKED",
    "PROJECTION_POSITION",
    "REQUESTS",
    "REQUESTS_RUNNING",
    "REQUEST_SECONDS",
    "Sample",
]

REQUESTS: Final = "stoa_mcp_requests_total"
"""Requests served, by server, method, tool and outcome (`ok`, `tool_error`, `error`, `cancelled`)."""

REQUEST_SECONDS: Final = "stoa_mcp_request_seconds"
"""How long they took, by server, method and tool."""

REQUESTS_RUNNING: Final = "stoa_mcp_requests_running"
"""Requests being served right now, by server."""

POOL_CONNECTIONS: Final = "stoa_pool_connections"
POOL_HEALTHY: Final = "stoa_pool_connections_healthy"
POOL_BUSY: Final = "stoa_pool_connections_busy"
POOL_USED: Final = "stoa_pool_utilisation_ratio"
POOL_WAITING: Final = "stoa_pool_calls_waiting"
POOL_WAITED: Final = "stoa_pool_calls_waited_total"
POOL_REFUSED: Final = "stoa_pool_calls_refused_total"
POOL_REQUESTS: Final = "stoa_pool_requests_total"
POOL_REQUEST_SECONDS: Final = "stoa_pool_request_seconds"
POOL_EXTRA: Final = "stoa_pool_extra_attempts_total"
POOL_CIRCUIT: Final = "stoa_pool_circuit_state"
POOL_CIRCUIT_TRIPS: Final = "stoa_pool_circuit_trips_total"
POOL_PROBES: Final = "stoa_pool_health_checks_total"
POOL_RECONNECTS: Final = "stoa_pool_reconnects_total"
POOL_RECYCLED: Final = "stoa_pool_recycled_total"
POOL_STARTS_FAILED: Final = "stoa_pool_starts_failed_total"
POOL_BYTES: Final = "stoa_pool_bytes_total"
POOL_MESSAGES: Final = "stoa_pool_messages_total"

POOL_HELP: Final[Mapping[str, str]] = {
    POOL_CONNECTIONS: "Open connections to replicas, by server.",
    POOL_HEALTHY: "Open connections of replicas that are used without reservation, by server.",
    POOL_BUSY: "Connections with at least one call in flight, by server.",
    POOL_USED: "Calls in flight, as a share of the slots of the open connections, by server.",
    POOL_WAITING: "Calls that wait for a slot right now, by server.",
    POOL_WAITED: "Calls that found no free slot at once, by server.",
    POOL_REFUSED: "Calls refused because the queue was full, no slot came free in time, or nothing was up, by server.",
    POOL_REQUESTS: "Attempts that are over, by server, replica and outcome (ok, failed, cancelled, not_sent).",
    POOL_REQUEST_SECONDS: "How long answers took, by server.",
    POOL_EXTRA: "Attempts beside the first of a call, by server and kind (retry, hedge).",
    POOL_CIRCUIT: "The circuit of each replica, by server and replica: 0 closed, 1 half-open, 2 open (ejected).",
    POOL_CIRCUIT_TRIPS: "How often a replica was ejected, by server and replica.",
    POOL_PROBES: "Active health checks, by server and result (ok, failed).",
    POOL_RECONNECTS: "Connections opened beside the first of each replica, by server.",
    POOL_RECYCLED: "Connections replaced because their time was over, by server.",
    POOL_STARTS_FAILED: "Connections that could not be opened, by server.",
    POOL_BYTES: "Bytes of JSON-RPC messages, by server and direction (sent, received).",
    POOL_MESSAGES: "JSON-RPC messages, by server and direction (sent, received).",
}
"""The series that a pool tells of itself, each with what it means."""

PROJECTION_POSITION: Final = "stoa_projection_position"
PROJECTION_LAG_EVENTS: Final = "stoa_projection_lag_events"
PROJECTION_LAG_SECONDS: Final = "stoa_projection_lag_seconds"
PROJECTION_PARKED: Final = "stoa_projection_parked_streams"
PROJECTION_DEAD: Final = "stoa_projection_dead_letters"
PROJECTION_APPLIED: Final = "stoa_projection_applied_total"
PROJECTION_FAILURES: Final = "stoa_projection_failures_total"

PROJECTION_HELP: Final[Mapping[str, str]] = {
    PROJECTION_POSITION: "The position of the log up to which events are in, by projection.",
    PROJECTION_LAG_EVENTS: "Positions between it and the end of the log, 0 when no event waits, by projection.",
    PROJECTION_LAG_SECONDS: "How long the oldest event that waits has been in the log, by projection.",
    PROJECTION_PARKED: "Streams that wait behind an event that failed, by projection.",
    PROJECTION_DEAD: "Events that failed for good and wait for a person, by projection.",
    PROJECTION_APPLIED: "Events applied by the generation that serves, by projection.",
    PROJECTION_FAILURES: "Attempts that failed, by projection.",
}
"""The series that projections tell of themselves, each with what it means."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series, as plain data. Of a histogram `value` is the sum, `buckets` are pairs of an upper bound
    and how many were at most that large (the last bound is infinity)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Mapping[str, str]
    value: float
    buckets: tuple[tuple[float, int], ...] = ()
