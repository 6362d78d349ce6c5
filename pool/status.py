"""What a pool tells about itself: one line per replica, and what a served call was."""

from dataclasses import dataclass
from typing import Literal

from stoa.tools import ToolResult

__all__ = ["ReplicaState", "ReplicaStatus", "Served"]

ReplicaState = Literal["idle", "starting", "ready", "restarting", "down", "closed"]
"""`restarting`: it was up and is being started again; `down`: it could not be started, the next use tries again."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """`era` is modern or legacy, `protocol` the revision spoken, `version` the server's own version.

    `latency_seconds` is that of a probe made for this status. `reason` says why a replica is not ready.
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


@dataclass(frozen=True, slots=True)
class Served:
    """A result, and who gave it. The time is that of the call itself, without waiting for a slot."""

    result: ToolResult
    replica: str
    latency_seconds: float
