"""What is told of projections: how far they are, what failed, what waits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

__all__ = ["DeadLetter", "Found", "Purged", "Retried", "State", "Status"]

State = Literal["new", "live", "catching_up", "rebuilding", "paused", "waiting", "halted", "superseded"]
"""`new`: no process has worked on it yet. `live`: at the end of the log. `rebuilding`: a new generation is being built
while the old one serves. `waiting`: nobody works on it, or what it needs is away. `halted`: too many streams parked.
`superseded`: the tables belong to a newer version than this process knows."""


@dataclass(frozen=True, slots=True)
class Status:
    """Of one projection. `lag_events` counts positions of the log, wanted or not, and is 0 when it wants none of them;
    `lag_seconds` is how long the oldest event that it has not seen has been in the log.
    `rebuild_position` is how far a new generation is, `rebuild_reason` why there is (or will be) one, `built_because`
    why the one that serves was built, `trouble` what is in its way. Documents are counted up to 100,000."""

    name: str
    description: str
    kind: Literal["documents", "sink"]
    version: int
    state: State
    generation: int
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    applied: int
    failures: int
    parked_streams: int
    dead_letters: int
    documents: int | None
    rebuild_position: int | None
    rebuild_reason: str | None
    built_because: str | None
    trouble: str | None
    owner: str | None
    updated_at: datetime | None

    def as_json(self) -> dict[str, JsonValue]:
        return {
            "name": self.name,
            "description": self.description,
            "kind": self.kind,
            "version": self.version,
            "state": self.state,
            "generation": self.generation,
            "position": self.position,
            "head": self.head,
            "lag_events": self.lag_events,
            "lag_seconds": round(self.lag_seconds, 3),
            "applied": self.applied,
            "failures": self.failures,
            "parked_streams": self.parked_streams,
            "dead_letters": self.dead_letters,
            "documents": self.documents,
            "rebuild_position": self.rebuild_position,
            "rebuild_reason": self.rebuild_reason,
            "built_because": self.built_because,
            "trouble": self.trouble,
            "owner": self.owner,
            "updated_at": self.updated_at.isoformat() if self.updated_at else None,
        }


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be applied; its stream waits behind it: `waiting` events came to it since. `payload` is
    read from the log when asked for: what was erased there does not live on here. `retry_at` is None once it waits for
    a person."""

    id: str
    projection: str
    tenant: str
    stream: str
    version: int
    position: int
    event_type: str
    event_id: str | None
    reason: str
    attempts: int
    waiting: int
    first_failed_at: datetime
    last_failed_at: datetime
    retry_at: datetime | None
    payload: dict[str, JsonValue] | None

    def as_json(self) -> dict[str, JsonValue]:
        return {
            "id": self.id,
            "projection": self.projection,
            "tenant": self.tenant,
            "stream": self.stream,
            "version": self.version,
            "position": self.position,
            "event_type": self.event_type,
            "event_id": self.event_id,
            "reason": self.reason,
            "attempts": self.attempts,
            "waiting": self.waiting,
            "first_failed_at": self.first_failed_at.isoformat(),
            "last_failed_at": self.last_failed_at.isoformat(),
            "retry_at": self.retry_at.isoformat() if self.retry_at else None,
            "payload": self.payload,
        }


@dataclass(frozen=True, slots=True)
class Retried:
    """What came of a retry: how many events were applied, and the reason if the stream is parked again."""

    id: str
    stream: str
    applied: int
    reason: str | None

    @property
    def is_mended(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge gave up: one event of this stream is not in the projection, and never will be until it is built
    anew. `applied` events that had waited behind it were applied; `reason` if one of those failed in its turn."""

    id: str
    stream: str
    version: int
    event_type: str
    applied: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A document; `position` is of the last event that changed it."""

    tenant: str
    key: str
    document: dict[str, JsonValue]
    position: int
