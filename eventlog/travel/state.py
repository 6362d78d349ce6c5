"""The state of an aggregate as it was, and what has changed between two moments."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from eventlog.aggregates.aggregate import Aggregate
from eventlog.aggregates.loading import MAX_EVENTS, load
from eventlog.event import StreamId
from eventlog.log import EventLog
from eventlog.travel.diff import Change, diff
from eventlog.travel.moment import NOW, At, position_of
from stoa.errors import BadInput

__all__ = ["Compared", "StateAt", "compare_states", "state_at"]

S = TypeVar("S")


@dataclass(frozen=True)  # no slots: with them, `StateAt[…](…)` raises in Python 3.11
class StateAt(Generic[S]):
    """`version`, `position` and `recorded_at` are of the last event that is part of it; version 0 and None where the
    stream did not exist yet. `snapshot_version` is of the snapshot that it was computed from, 0 for none."""

    stream: StreamId
    state: S = field(repr=False)
    version: int
    position: int
    recorded_at: datetime | None
    snapshot_version: int


@dataclass(frozen=True, slots=True)
class Compared:
    before: StateAt[Any]
    after: StateAt[Any]
    changes: Sequence[Change]


async def state_at(
    log: EventLog, aggregate: Aggregate[S], stream: StreamId, at: At = NOW, *, max_events: int = MAX_EVENTS
) -> StateAt[S]:
    """Raises `NotFound` for an unknown stream, `BadInput` for a version or position that is not there yet, and
    `StateLost` for a moment whose events were truncated. Erased events are erased in the past, too."""
    version = (await log.stream_info(stream)).version
    if at.version is not None and at.version > version:
        raise BadInput(
            f"The stream {stream.name!r} has no version {at.version} yet; it is at {version}.",
            hint="Give a version up to there.",
        )
    position = None if at.version is not None or at == NOW else await position_of(log, at)
    loaded = await load(log, aggregate, stream, version=at.version, position=position, max_events=max_events)
    recorded_at = loaded.recorded_at
    if loaded.version and recorded_at is None:  # all of it is out of a snapshot, which does not know
        recorded_at = await _recorded_at(log, stream, loaded.version)
    return StateAt(stream, loaded.state, loaded.version, loaded.position, recorded_at, loaded.snapshot_version)


async def compare_states(
    log: EventLog,
    aggregate: Aggregate[Any],
    stream: StreamId,
    before: At,
    after: At = NOW,
    *,
    max_events: int = MAX_EVENTS,
) -> Compared:
    """What has changed from one moment to the other; also backwards."""
    one = await state_at(log, aggregate, stream, before, max_events=max_events)
    other = await state_at(log, aggregate, stream, after, max_events=max_events)
    return Compared(one, other, diff(one.state, other.state))


async def _recorded_at(log: EventLog, stream: StreamId, version: int) -> datetime | None:
    """None where the event itself was truncated."""
    events = await log.read_stream(stream, from_version=version, to_version=version, limit=1)
    return events[0].recorded_at if events else None
