"""Leaving the oldest events of a stream behind, once a snapshot holds what they added up to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from eventlog.aggregates import snapshots
from eventlog.aggregates.aggregate import Aggregate, written
from eventlog.aggregates.loading import advance, begin
from eventlog.chain import digest
from eventlog.database import Database, Statement
from eventlog.event import StreamId, StreamInfo
from eventlog.filters import LAST
from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog
from stoa.errors import BadInput, Conflict

__all__ = ["Truncated", "count_truncated", "truncate_before"]

PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 16 * 2**20

_HINT: Final = "Take a snapshot of the stream now, then truncate again."


@dataclass(frozen=True, slots=True)
class Truncated:
    """`events` were removed now; `first_version` is the oldest that is still there. `snapshot_version` is of the
    snapshot that stands for them."""

    stream: StreamId
    events: int
    first_version: int
    snapshot_version: int


async def truncate_before(
    log: EventLog,
    stream: StreamId,
    version: int,
    *,
    aggregate: Aggregate[Any],
    on_progress: OnProgress = silent,
) -> Truncated:
    """Remove the events of a stream before `version`. Positions, ids and checksums stay: repeats are still known, and
    the chain can be computed. Readers pass them over; a projection that is rebuilt does not see them.

    Only where the newest snapshot of `aggregate` is of version `version - 1` or later, and was found to be what the
    events add up to, just now; else `Conflict`. Raises `NotFound` for an unknown stream, `BadInput` for a version past
    its end. After an interruption, run it again. `on_progress` gets versions.
    """
    info = await log.stream_info(stream)
    if not 1 <= version <= info.version + 1:
        raise BadInput(
            f"The stream {stream.name!r} cannot be truncated before version {version}.",
            hint=f"It ends at version {info.version}: give at most {info.version + 1}.",
        )
    snapshot_version = await _verified(log, aggregate, info, version)
    removed, first = 0, info.first_version
    pk = await _pk(log.database, stream)
    guard = (aggregate.fold_name, snapshot_version)
    while first < version and (rows := await _page(log.database, pk, first, version)):
        await _move(log.database, pk, first, rows, guard)
        removed, first = removed + len(rows), rows[-1].version + 1
        on_progress(first - info.first_version, version - info.first_version)
    return Truncated(stream, removed, first, snapshot_version)


async def count_truncated(log: EventLog, *, tenant: str | None = None, prefix: str = "") -> int:
    """How many streams begin later than with their first event: their events alone do not tell what was before."""
    rows = await log.database.fetch(
        "SELECT COUNT(*) FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE s.first_version > 1"
        " AND t.name = COALESCE($1, t.name) AND s.name >= $2 AND s.name < $3",
        tenant,
        prefix,
        prefix + LAST,
    )
    return cast(int, rows[0][0])


async def _verified(log: EventLog, aggregate: Aggregate[Any], info: StreamInfo, version: int) -> int:
    """The version of the newest snapshot, which holds what the events before `version` add up to."""
    stream = info.stream
    kept = (await snapshots.find(log.database, stream, aggregate.fold_name)).kept
    if kept is None or kept.version < version - 1:
        found = "there is none" if kept is None else f"the newest one is of version {kept.version}"
        raise Conflict(
            f"The stream {stream.name!r} can be truncated before version {version} only below a snapshot of version"
            f" {version - 1} or later; {found}. Nothing was removed.",
            hint=_HINT,
        )
    # From the first event, or from the snapshot that an earlier truncation rested on.
    base = 0 if info.first_version == 1 else await _oldest(log.database, info, aggregate)
    start = await begin(log, aggregate, stream, version=base, with_snapshots=base > 0)
    if start.snapshot_version != base or (base == 0 and info.first_version > 1):
        raise Conflict(
            f"The snapshots of {stream.name!r} cannot be checked: there is none to begin with at version"
            f" {info.first_version - 1} or later. Nothing was removed.",
            hint="Restore the snapshots of the stream from a backup.",
        )
    replayed = await advance(log, aggregate, start, version=kept.version, max_events=kept.version)
    if replayed.version != kept.version or written(aggregate, replayed.state) != kept.state:
        raise Conflict(
            f"The snapshot of {stream.name!r} at version {kept.version} is not what its events add up to. Nothing was"
            " removed.",
            hint="Give the aggregate a new version if it now answers something else, take a new snapshot, try again.",
        )
    return kept.version


async def _oldest(database: Database, info: StreamInfo, aggregate: Aggregate[Any]) -> int:
    rows = await database.fetch(
        "SELECT MIN(n.version) FROM snapshot n JOIN stream s ON s.pk = n.stream JOIN tenant t ON t.pk = s.tenant"
        " WHERE t.name = $1 AND s.name = $2 AND n.fold = $3 AND n.version >= $4",
        *info.stream,
        aggregate.fold_name,
        info.first_version - 1,
    )
    return cast(int, rows[0][0] or 0)


class _Row(NamedTuple):
    version: int
    position: int
    type: int
    schema_version: int
    event_id: bytes
    occurred_us: int
    recorded_us: int
    salt: bytes
    data: bytes
    metadata: bytes
    digest: bytes | None
    checksum: bytes


async def _page(database: Database, stream: int, first: int, before: int) -> Sequence[_Row]:
    """The next events, bounded by rows and bytes."""
    sizes = cast(
        Sequence[tuple[int, int]],
        await database.fetch(
            "SELECT version, COALESCE(LENGTH(data) + LENGTH(metadata), 0) FROM event"
            " WHERE stream = $1 AND version >= $2 AND version < $3 ORDER BY version LIMIT $4",
            stream,
            first,
            before,
            PAGE_ROWS,
        ),
    )
    total, upto = 0, first - 1
    for version, size in sizes:
        total += size
        if upto >= first and total > PAGE_BYTES:
            break
        upto = version
    rows = await database.fetch(
        f"SELECT {', '.join(_Row._fields)} FROM event"  # noqa: S608 - names of columns
        " WHERE stream = $1 AND version >= $2 AND version <= $3 ORDER BY version",
        stream,
        first,
        upto,
    )
    return [_Row(*row) for row in cast(Sequence[Any], rows)]


async def _move(database: Database, stream: int, first: int, rows: Sequence[_Row], guard: tuple[str, int]) -> None:
    """In one transaction. Raises `Conflict` when the snapshot has gone, or somebody else truncates too."""
    await database.write(
        # Whoever erases or takes snapshots takes this row too; what comes after sees what they have done.
        Statement("UPDATE stream SET version = version WHERE pk = $1", [(stream,)]),
        Statement(
            "UPDATE stream SET first_version = $1 WHERE pk = $2 AND first_version = $3"
            " AND EXISTS (SELECT 1 FROM snapshot WHERE stream = $2 AND fold = $4 AND version = $5)",
            [(rows[-1].version + 1, stream, first, *guard)],
            must_change=1,
        ),
        Statement(
            "INSERT INTO truncated (position, stream, version, type, schema_version, event_id, occurred_us,"
            " recorded_us, digest, checksum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            [
                (
                    row.position,
                    stream,
                    row.version,
                    row.type,
                    row.schema_version,
                    row.event_id,
                    row.occurred_us,
                    row.recorded_us,
                    row.digest or digest(row.salt, row.data, row.metadata),
                    row.checksum,
                )
                for row in rows
            ],
        ),
        Statement(
            "DELETE FROM event WHERE stream = $1 AND version >= $2 AND version <= $3",
            [(stream, first, rows[-1].version)],
            must_change=len(rows),
        ),
    )


async def _pk(database: Database, stream: StreamId) -> int:
    rows = await database.fetch(
        "SELECT s.pk FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE t.name = $1 AND s.name = $2", *stream
    )
    return cast(int, rows[0][0])
