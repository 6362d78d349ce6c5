"""Leaving the oldest events of a stream behind, once a snapshot holds what they added up to."""

from dataclasses import dataclass

from eventlog.event import StreamId
from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog

__all__ = ["Truncated", "truncate_before"]


@dataclass(frozen=True, slots=True)
class Truncated:
    """`events` were removed now; `first_version` is the oldest that is still there."""

    stream: StreamId
    events: int
    first_version: int


async def truncate_before(
    log: EventLog, stream: StreamId, version: int, *, on_progress: OnProgress = silent
) -> Truncated:
    """Remove the events of a stream before `version`. Positions, ids and checksums stay: repeats are still known, and
    the chain can be computed.

    Only where a snapshot of version `version - 1` or later was just found to be what its events add up to; else
    `Conflict`. Raises `NotFound` for an unknown stream, `BadInput` for a version past its end.
    """
    raise NotImplementedError
