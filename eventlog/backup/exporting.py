"""Events out of the log into a file of JSON lines; an interrupted export goes on where it stopped."""

from dataclasses import dataclass
from pathlib import Path

from eventlog.event import EVERYTHING, Filter
from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog

__all__ = ["Exported", "export_events"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What the finished file holds; `resumed_at` is how many events of it were there already (0 for a new file).
    `checksum` is the last one of the file: it stands for all lines before."""

    events: int
    position: int
    checksum: str
    resumed_at: int


async def export_events(
    log: EventLog, file: Path, *, filter: Filter = EVERYTHING, on_progress: OnProgress = silent
) -> Exported:
    """Write all events up to the log's head of now. Where `file` holds the beginning of the same export, it goes on
    after its last whole line, to the head of then; where it holds all of it, nothing is done.

    Data of subjects stays sealed: a file does not bring back whom the log has forgotten. Erased events are written as
    such. Raises `BadInput` when the file is something else, or the export of another log or filter. `on_progress` gets
    positions.
    """
    raise NotImplementedError
