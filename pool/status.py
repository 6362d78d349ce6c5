"""What a pool tells about its replicas and calls, as values: a line per replica, and what a served call was."""

from dataclasses import dataclass
from typing import Literal

from stoa.tools import ToolResult

__all__ = ["GroupStats", "ReplicaState", "ReplicaStats", "ReplicaStatus", "Served", "Stats"]

ReplicaState = Literal["stopped", "starting", "healthy", "degraded", "ejected"]
"""`stopped`: nobody needs it yet, or it could not be started; `degraded`: it is used, or held back, with a reason to
worry; `ejected`: it failed too often and is left alone for a while. The reason is said with it."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """`era` is modern or legacy, `protocol` the revision spoken, `version` the server's own version.

    `latency_seconds` is that of a probe made for this status. `reason` says why a replica is not healthy.
    """

    server: str
    replica: str
    state: ReplicaState
    era: str | None
    protocol: str | None
    version: str | None
    latency_seconds: float | None
    in_flight: int
    calls: int
    failures: int
    reason: str

    @property
    def is_up(self) -> bool:
        return self.state in ("healthy", "degraded", "ejected")


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """One replica since the pool was opened. `calls` counts attempts that were answered, failed or were given up;
    `reconnects` counts connections beside the first. Seconds of `ewma` weigh the last calls most; p50 to p99 are over
    all answers. `memory_bytes` is that of its whole process group, where the system tells."""

    replica: str
    state: ReplicaState
    reason: str
    is_spare: bool
    in_flight: int
    max_in_flight: int
    calls: int
    answered: int
    failures: int
    cancelled: int
    not_sent: int
    ejections: int
    ewma_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    success_rate: float | None
    age_seconds: float | None
    memory_bytes: int | None
    connects: int
    reconnects: int
    recycled: int
    starts_failed: int
    probes_ok: int
    probes_failed: int


@dataclass(frozen=True, slots=True)
class GroupStats:
    """One server. `waited` calls found no slot at once; `refused` found the queue full, no slot in time, or nothing
    up. Bytes are those of JSON-RPC messages, without what carries them."""

    server: str
    strategy: str
    in_flight: int
    waiting: int
    waited: int
    refused: int
    retries: int
    hedges: int
    hedges_won: int
    calls: int
    failures: int
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    sent_messages: int
    sent_bytes: int
    received_messages: int
    received_bytes: int
    is_offer_known: bool
    replicas: tuple[ReplicaStats, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """The whole pool, in the order of its configuration."""

    groups: tuple[GroupStats, ...]

    def group(self, server: str) -> GroupStats | None:
        return next((group for group in self.groups if group.server == server), None)


@dataclass(frozen=True, slots=True)
class Served:
    """A result, and who gave it. The time is that of the call itself, without waiting for a slot."""

    result: ToolResult
    replica: str
    latency_seconds: float
