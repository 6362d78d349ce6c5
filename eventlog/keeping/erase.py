"""Removing what was said, and keeping that it was said: position, version, type, times and digest stay."""

from collections.abc import Iterable
from dataclasses import dataclass

from eventlog.event import StreamId
from eventlog.log import EventLog

__all__ = ["ERASED", "Erased", "erase", "erasures_of"]

ERASED = "log.erased"
"""Type of the event that tells of an erasure: `{"stream": name, "versions": [[from, to], …]}`. It lies in the stream
`log-erasures` of the tenant, after the rows are gone: a read model that kept something of them forgets it then."""


@dataclass(frozen=True, slots=True)
class Erased:
    """`events` were erased now, `already` before; `snapshots` of the stream were deleted."""

    stream: StreamId
    events: int
    already: int
    snapshots: int


def erasures_of(tenant: str) -> StreamId:
    return StreamId(tenant, "log-erasures")


async def erase(log: EventLog, stream: StreamId, versions: Iterable[int] | None = None) -> Erased:
    """Erase events of a stream (all of them without `versions`): data, metadata, correlation and subject are removed,
    the chain stays verifiable. Snapshots of the stream are deleted, for they hold what was erased.

    Raises `NotFound` for an unknown stream or version. After an interruption, run it again.
    """
    raise NotImplementedError
