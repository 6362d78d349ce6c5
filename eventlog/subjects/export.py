"""What the log holds about one person."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from eventlog.event import Event
from eventlog.log import EventLog
from eventlog.reading import COLUMNS, FROM, Reading
from eventlog.subjects.erase import keys_of

__all__ = ["export_subject"]

PAGE: Final = 250
"""Events; each may have a MiB."""


async def export_subject(
    log: EventLog, tenant: str, subject: str, *, after: int = 0
) -> AsyncGenerator[Sequence[Event]]:
    """All readable events of a tenant that were appended with this subject, in the order of the log, page by page,
    from the position `after` on.

    Raises `BadInput` for an impossible name; a person nobody knows has no events.
    """
    id = keys_of(log).subject_id(tenant, subject)
    reading = Reading(log.database, log.types, log.keys)
    position = after
    while True:
        rows = await log.database.fetch(
            f"SELECT {COLUMNS} FROM {FROM} WHERE e.subject = $1 AND e.position > $2 AND s.pk = e.stream"  # noqa: S608 - parts of ours
            " AND +e.tenant = (SELECT pk FROM tenant WHERE name = $3) ORDER BY e.position LIMIT $4",
            id,
            position,
            tenant,
            PAGE,
        )
        if not rows:
            return
        events = await reading.events(rows)
        yield [event for event in events if not event.is_erased]
        position = events[-1].position
