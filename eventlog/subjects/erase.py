"""Forgetting a person: the key first, which makes the data unreadable everywhere; then the rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from eventlog.aggregates.snapshots import delete_snapshots
from eventlog.database import Database
from eventlog.event import Metadata, StreamId
from eventlog.keeping.erase import PAGE_BYTES, Salted, announce, erase_rows, ranges_of
from eventlog.keeping.progress import OnProgress, silent
from eventlog.keeping.wal import fold_wal
from eventlog.log import EventLog
from eventlog.sealing import SubjectKeys
from stoa.errors import BadInput

__all__ = ["Forgotten", "erase_subject", "keys_of"]

PAGE_ROWS: Final = 500

_PAGE: Final = """
SELECT e.stream, s.name, e.version, e.position, e.salt, e.data, e.metadata
FROM event e JOIN tenant t ON t.pk = e.tenant JOIN stream s ON s.pk = e.stream
WHERE e.subject = $1 AND e.position > $2 AND e.position <= $3 AND t.name = $4 ORDER BY e.position
"""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """`events` of `streams` were erased now; `had_key` when the subject was known until now."""

    events: int
    streams: int
    snapshots: int
    had_key: bool


async def erase_subject(
    log: EventLog, tenant: str, subject: str, *, metadata: Metadata | None = None, on_progress: OnProgress = silent
) -> Forgotten:
    """Destroy the subject's key and erase all events that were appended with it (see `eventlog.keeping.erase`: rows
    keep position, version, type and digest; `log.erased` events tell of it; snapshots of the streams are deleted).

    From the first moment on the events read as erased, also in every copy of the log that has no copy of the key.
    After an interruption, run it again. `on_progress` gets events.
    """
    keys = keys_of(log)
    id = keys.subject_id(tenant, subject)
    had_key = await keys.destroy(tenant, subject)
    database = log.database
    count = cast(int, (await database.fetch("SELECT COUNT(*) FROM event WHERE subject = $1", id))[0][0])
    events, snapshots, position = 0, 0, 0
    streams: set[int] = set()
    while rows := await _page(database, id, tenant, position):
        # Told of before it is done: without the key it is true already, and the rows are how it is found again.
        found: dict[int, tuple[StreamId, list[int]]] = {}
        for pk, name, version, *_ in rows:
            found.setdefault(pk, (StreamId(tenant, name), []))[1].append(version)
        snapshots += await delete_snapshots(database, list(found))
        for stream, versions in found.values():
            await announce(log, stream, ranges_of(versions), metadata)
        await erase_rows(
            database, [Salted(position, salt, data, metadata) for _, _, _, position, salt, data, metadata in rows]
        )
        streams |= found.keys()
        events, position = events + len(rows), rows[-1][3]
        on_progress(events, max(count, events))
    await fold_wal(database)
    return Forgotten(events, len(streams), snapshots, had_key)


def keys_of(log: EventLog) -> SubjectKeys:
    if log.keys is None:
        raise BadInput(
            "This log was opened without keys of subjects.", hint="Open it as Stoa does, with its secret key."
        )
    return log.keys


async def _page(
    database: Database, subject: bytes, tenant: str, after: int
) -> Sequence[tuple[int, str, int, int, bytes, bytes, bytes]]:
    """The next events of a subject, bounded by rows and bytes."""
    sizes = cast(
        Sequence[tuple[int, int]],
        await database.fetch(
            "SELECT position, LENGTH(data) + LENGTH(metadata) FROM event"
            " WHERE subject = $1 AND position > $2 ORDER BY position LIMIT $3",
            subject,
            after,
            PAGE_ROWS,
        ),
    )
    total, upto = 0, after
    for position, size in sizes:
        total += size
        if upto > after and total > PAGE_BYTES:
            break
        upto = position
    rows = await database.fetch(_PAGE, subject, after, upto, tenant)
    return cast(Sequence[tuple[int, str, int, int, bytes, bytes, bytes]], rows)
