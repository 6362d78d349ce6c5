"""Forgetting a person: the key first, which makes the data unreadable everywhere; then the rows."""

from dataclasses import dataclass

from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog

__all__ = ["Forgotten", "erase_subject"]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """`events` of `streams` were erased now; `had_key` when the subject was known until now."""

    events: int
    streams: int
    snapshots: int
    had_key: bool


async def erase_subject(log: EventLog, tenant: str, subject: str, *, on_progress: OnProgress = silent) -> Forgotten:
    """Destroy the subject's key and erase all events that were appended with it (see `eventlog.keeping.erase`: rows
    keep position, version, type and digest; `log.erased` events tell of it; snapshots of the streams are deleted).

    From the first moment on the events read as erased, also in every copy of the log that has no copy of the key.
    After an interruption, run it again.
    """
    raise NotImplementedError
