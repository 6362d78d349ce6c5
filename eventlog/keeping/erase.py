"""Removing what was said, and keeping that it was said: position, version, type, times and digest stay."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import orjson

from eventlog.aggregates.snapshots import delete_snapshots
from eventlog.chain import digest
from eventlog.database import Database, Statement
from eventlog.event import Metadata, NewEvent, StreamId
from eventlog.ids import id_text
from eventlog.keeping.wal import fold_wal
from eventlog.log import EventLog
from stoa.errors import BadInput, NotFound

__all__ = [
    "ERASED",
    "PAGE_BYTES",
    "Erased",
    "Salted",
    "announce",
    "erase",
    "erase_rows",
    "erasures_of",
    "fold_wal",
    "ranges_of",
]

ERASED: Final = "log.erased"
"""Type of the event that tells of an erasure: `{"stream": name, "versions": [[from, to], …]}`. It lies in the stream
`log-erasures` of the tenant: a read model that kept something of those events forgets it then."""

PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 16 * 2**20
RANGES: Final = 10_000
"""In one `log.erased`."""


@dataclass(frozen=True, slots=True)
class Erased:
    """`events` were erased now, `already` before (or truncated); `snapshots` of the stream were deleted."""

    stream: StreamId
    events: int
    already: int
    snapshots: int


class Salted(NamedTuple):
    """What the digest of an event is made of."""

    position: int
    salt: bytes
    data: bytes
    metadata: bytes


def erasures_of(tenant: str) -> StreamId:
    return StreamId(tenant, "log-erasures")


async def erase(
    log: EventLog, stream: StreamId, versions: Iterable[int] | None = None, *, metadata: Metadata | None = None
) -> Erased:
    """Erase events of a stream (all of them without `versions`): data, metadata, correlation and subject are removed,
    the chain stays verifiable. Snapshots of the stream are deleted, for they hold what was erased. Then `log.erased`
    tells of it, with `metadata`.

    Of a truncated stream the state before its first event is gone with the snapshots. After an interruption, run it
    again: what is erased stays so, and it is told of once.

    Raises `NotFound` for an unknown stream or version, `BadInput` for the account of erasures itself, which is kept.
    """
    if stream == erasures_of(stream.tenant):
        raise BadInput("The account of what was erased is kept.", hint="Name another stream.")
    database = log.database
    found = await database.fetch(
        "SELECT s.pk, s.version FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE t.name = $1 AND s.name = $2",
        stream.tenant,
        stream.name,
    )
    if not found:
        raise NotFound(f"There is no stream {stream.name!r}.")
    pk, version = cast(tuple[int, int], tuple(found[0]))
    ranges = ranges_of(range(1, version + 1) if versions is None else versions)
    if not ranges:
        raise BadInput("No versions are named.", hint="Give at least one, or none at all for the whole stream.")
    if ranges[0][0] < 1 or ranges[-1][1] > version:
        raise NotFound(f"The stream {stream.name!r} has versions 1 to {version}; not all of those to be erased exist.")
    erased = 0
    for first, last in ranges:
        while rows := await _page(database, pk, first, last):
            await erase_rows(database, [row for _, row in rows])
            erased += len(rows)
            first = rows[-1][0] + 1
    snapshots = await delete_snapshots(database, [pk])
    await announce(log, stream, ranges, metadata)
    await fold_wal(database)
    return Erased(stream, erased, sum(last - first + 1 for first, last in ranges) - erased, snapshots)


async def _page(database: Database, stream: int, first: int, last: int) -> Sequence[tuple[int, Salted]]:
    """Versions, and what lies there, of the next events that are not erased; bounded by rows and bytes."""
    sizes = cast(
        Sequence[tuple[int, int]],
        await database.fetch(
            "SELECT version, LENGTH(data) + LENGTH(metadata) FROM event"
            " WHERE stream = $1 AND version >= $2 AND version <= $3 AND digest IS NULL ORDER BY version LIMIT $4",
            stream,
            first,
            last,
            PAGE_ROWS,
        ),
    )
    total, upto = 0, None
    for version, size in sizes:
        total += size
        if upto is not None and total > PAGE_BYTES:
            break
        upto = version
    if upto is None:
        return []
    rows = await database.fetch(
        "SELECT version, position, salt, data, metadata FROM event"
        " WHERE stream = $1 AND version >= $2 AND version <= $3 AND digest IS NULL ORDER BY version",
        stream,
        first,
        upto,
    )
    return [
        (version, Salted(position, salt, data, metadata))
        for version, position, salt, data, metadata in cast(Sequence[tuple[int, int, bytes, bytes, bytes]], rows)
    ]


async def erase_rows(database: Database, rows: Sequence[Salted]) -> None:
    """In one transaction. The digest is of what lies there: where that was changed, `verify` still tells."""
    await database.write(
        Statement(
            "UPDATE event SET salt = NULL, data = NULL, metadata = NULL, correlation_id = NULL, subject = NULL,"
            " digest = $1 WHERE position = $2 AND digest IS NULL",
            [(digest(row.salt, row.data, row.metadata), row.position) for row in rows],
        )
    )


async def announce(
    log: EventLog, stream: StreamId, ranges: Sequence[tuple[int, int]], metadata: Metadata | None
) -> None:
    """Append `log.erased`. Its id follows from what it says, so that it is told once however often it is run."""
    for at in range(0, len(ranges), RANGES):
        data = {"stream": stream.name, "versions": [list(each) for each in ranges[at : at + RANGES]]}
        said = orjson.dumps([ERASED, stream.tenant, data])
        id = bytearray(hashlib.sha256(said).digest()[:16])
        id[6], id[8] = id[6] & 0x0F | 0x80, id[8] & 0x3F | 0x80  # RFC 9562, version 8: made by a rule of ours
        event = NewEvent(ERASED, data, metadata or Metadata(source="eventlog"), event_id=id_text(bytes(id)))
        await log.append_to(erasures_of(stream.tenant), [event])


def ranges_of(versions: Iterable[int]) -> Sequence[tuple[int, int]]:
    """The same versions as ranges, in order: 1, 2, 3, 7 is (1, 3), (7, 7)."""
    if isinstance(versions, range) and versions.step == 1:
        return [(versions.start, versions.stop - 1)] if versions else []
    found: list[tuple[int, int]] = []
    for version in sorted(set(versions)):
        if found and found[-1][1] == version - 1:
            found[-1] = (found[-1][0], version)
        else:
            found.append((version, version))
    return found
