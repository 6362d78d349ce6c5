"""Events from a file of JSON lines into a log; the whole file is checked before the first event is written."""

from dataclasses import dataclass
from pathlib import Path

from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog

__all__ = ["Imported", "import_events"]


@dataclass(frozen=True, slots=True)
class Imported:
    """`events` were appended now; `already` were there from an import before."""

    events: int
    already: int
    streams: int


async def import_events(
    log: EventLog, file: Path, *, tenant: str | None = None, on_progress: OnProgress = silent
) -> Imported:
    """Append the events of a file. Ids, types, data, order in each stream and `occurred_at` stay; positions, versions
    (from 1 on, should the file begin later) and `recorded_at` are of this log. Erased events stay erased.

    Idempotent: events that are there already are not appended again, so an interrupted import is run again. Raises
    `BadInput`, naming the line and before anything is written, for a file that is damaged, unfinished, not of ours or
    (with `tenant`) holds another tenant's events; `Conflict`, naming line and stream, where a stream of this log has
    other events. `on_progress` gets bytes of the file.
    """
    raise NotImplementedError
