"""What both kinds of projections need to work on a generation: the log, a clock, an owner, and the pages to read."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from eventlog.database import Database
from eventlog.event import Checkpoint, Event, Filter, StreamId, microseconds
from eventlog.log import EventLog
from eventlog.names import check_stream
from eventlog.projections.decide import Policy
from eventlog.projections.projection import ERASED, DocumentProjection, Projection
from eventlog.projections.tables import Generation, Parked
from stoa.clock import Clock
from stoa.errors import BadInput, NotFound

__all__ = [
    "Means",
    "Mended",
    "advanced",
    "checkpoint_of",
    "is_touched_by_erasure",
    "parked_streams",
    "read_types",
    "waiting",
]

_LOOKED_AT: Final = 1_000
"""Events of a stream; of a longer one it is not found out what was erased."""


@dataclass(frozen=True, slots=True)
class Means:
    """`owner` names this projector among all that share the database."""

    log: EventLog
    owner: str
    clock: Clock
    rng: random.Random
    policy: Policy

    @property
    def database(self) -> Database:
        return self.log.database

    def now_us(self) -> int:
        return microseconds(self.clock.now())

    def lease(self) -> tuple[str, int]:
        return self.owner, self.now_us() + int(self.policy.lease_seconds * 1_000_000)


@dataclass(frozen=True, slots=True)
class Mended:
    """What came of trying a parked stream again; `parked` when it waits still (or again)."""

    applied: int
    parked: Parked | None
    reason: str | None = None


def advanced(generation: Generation, checkpoint: Checkpoint | None = None) -> Generation:
    """As it is after one write of ours."""
    there = checkpoint or generation.checkpoint
    return replace(
        generation,
        revision=generation.revision + 1,
        position=there.position,
        checksum=there.checksum,
        epoch=there.epoch,
    )


def checkpoint_of(event: Event, epoch: str) -> Checkpoint:
    return Checkpoint(event.position, event.checksum, epoch)


def parked_streams(parked: Sequence[Parked]) -> Mapping[StreamId, Parked]:
    return {StreamId(one.tenant, one.stream): one for one in parked}


def read_types(projection: Projection) -> tuple[str, ...]:
    """What is read from the log. Documents hold what events said: so whoever keeps some hears of erasures too."""
    if isinstance(projection, DocumentProjection) and projection.types and not projection.only_envelopes:
        return (*projection.types, ERASED)
    return projection.types


async def is_touched_by_erasure(log: EventLog, projection: Projection, event: Event) -> bool:
    """Whether the stream that is told of has erased events that this projection wanted: their types are still known.
    A notice that is not true (anybody might append one) makes no work."""
    stream = StreamId(event.tenant, event.data.get("stream", ""))
    try:
        check_stream(stream)
    except BadInput:
        return False
    theirs = Filter(tenant=stream.tenant, types=projection.types, stream_prefix=stream.name)
    events = await log.read_all(0, filter=theirs, until=event.position, limit=_LOOKED_AT)
    return len(events) == _LOOKED_AT or any(one.is_erased and one.stream == stream for one in events)


async def waiting(
    log: EventLog, generation: Generation, parked: Parked, *, start: int, limit: int
) -> tuple[Sequence[Event], Event | None]:
    """Events of a parked stream from version `start` on which the generation has passed already, and the next one
    when there are more than `limit`. What was truncated in the meantime is gone, as for a fold from the first event."""
    stream = StreamId(parked.tenant, parked.stream)
    events: list[Event] = []
    try:
        version = (await log.stream_info(stream)).version
        while start <= version and len(events) <= limit:
            page = await log.read_stream(stream, from_version=start, limit=limit + 1 - len(events))
            if not page:
                break
            passed = [event for event in page if event.position <= generation.position]
            events += passed
            if len(passed) < len(page):
                break
            start = page[-1].version + 1
    except NotFound:
        pass  # the whole stream is gone
    return (events, None) if len(events) <= limit else (events[:limit], events[limit])
