"""What the log holds about one person."""

from collections.abc import AsyncGenerator, Sequence

from eventlog.event import Event
from eventlog.log import EventLog

__all__ = ["export_subject"]


def export_subject(log: EventLog, tenant: str, subject: str) -> AsyncGenerator[Sequence[Event], None]:
    """All readable events of a tenant that were appended with this subject, in the order of the log, page by page.

    Raises `BadInput` for an impossible name; a person nobody knows has no events.
    """
    raise NotImplementedError
