"""Does the log still say what it said? Every checksum again, every number in its place, every stream's end.

The log is read in the order of positions, in pages of bounded size, while others append, erase and truncate. Each page
is one SELECT over what is kept and what was truncated, so a row that moves from one to the other is always seen.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, cast

from eventlog.database import Database, Value
from eventlog.keeping.progress import OnProgress, silent
from eventlog.keeping.recompute import Problem, Reached, Recomputing, StoredRow
from eventlog.log import EventLog
from stoa.errors import NotFound

__all__ = ["Problem", "Report", "verify"]

PAGE_ROWS: Final = 2_000
PAGE_BYTES: Final = 16 * 2**20
STREAMS: Final = 500
"""Streams in one query."""

_ROWS: Final = """
SELECT position, stream, version, tenant, type, schema_version, event_id, occurred_us, recorded_us, correlation_id,
       subject, salt, data, metadata, digest, checksum, 0
FROM event WHERE position > $1 AND position <= $2 {of_event}
UNION ALL
SELECT position, stream, version, NULL, type, schema_version, event_id, occurred_us, recorded_us, NULL,
       NULL, NULL, NULL, NULL, digest, checksum, 1
FROM truncated WHERE position > $1 AND position <= $2 {of_truncated}
ORDER BY 1
"""
# What a page would have in it, without reading it.
_SIZE: Final = """
SELECT COUNT(*), COALESCE(SUM(size), 0)
FROM (
    SELECT COALESCE(LENGTH(data), 0) + COALESCE(LENGTH(metadata), 0) AS size
    FROM event WHERE position > $1 AND position <= $2 {of_event}
    UNION ALL
    SELECT 0 AS size FROM truncated WHERE position > $1 AND position <= $2 {of_truncated}
) AS page
"""
_NEXT: Final = """
SELECT (SELECT MIN(position) FROM event WHERE position > $1), (SELECT MIN(position) FROM truncated WHERE position > $1)
"""
# `+tenant` keeps the databases from sorting all events of a tenant for each page.
_OF_TENANT: Final = {
    "of_event": "AND +tenant = {mark}",
    "of_truncated": "AND stream IN (SELECT pk FROM stream WHERE tenant = {mark})",
}
_END: Final = """
SELECT (SELECT position FROM log), (SELECT recorded_us FROM log), (SELECT streams FROM log),
       (SELECT MAX(position) FROM event), (SELECT MAX(position) FROM truncated),
       (SELECT COUNT(*) FROM stream), (SELECT MAX(pk) FROM stream)
"""
_STREAMS: Final = """
SELECT s.pk, t.name, s.name, s.version, s.first_version, s.last_position, s.created_us, s.updated_us, s.checksum,
       (SELECT MAX(e.version) FROM event e WHERE e.stream = s.pk),
       (SELECT MIN(e.version) FROM event e WHERE e.stream = s.pk),
       (SELECT MAX(u.version) FROM truncated u WHERE u.stream = s.pk),
       COALESCE(last.position, gone.position), COALESCE(last.recorded_us, gone.recorded_us),
       COALESCE(last.checksum, gone.checksum), COALESCE(first.recorded_us, old.recorded_us)
FROM stream s
LEFT JOIN tenant t ON t.pk = s.tenant
LEFT JOIN event last ON last.stream = s.pk AND last.version = s.version
LEFT JOIN truncated gone ON gone.stream = s.pk AND gone.version = s.version
LEFT JOIN event first ON first.stream = s.pk AND first.version = 1
LEFT JOIN truncated old ON old.stream = s.pk AND old.version = 1
WHERE s.pk > $1 {of_stream} ORDER BY s.pk LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at (`events` are those that can be read; `erased` and `truncated` ones come on top), up to
    `position`, and what was found. When there is more than fits in a list, `is_cut` is set."""

    position: int
    events: int
    erased: int
    truncated: int
    streams: int
    problems: tuple[Problem, ...]
    is_cut: bool = False

    @property
    def is_sound(self) -> bool:
        return not self.problems


async def verify(
    log: EventLog, *, tenant: str | None = None, after: int = 0, on_progress: OnProgress = silent
) -> Report:
    """Compute the chain of every stream again, from `after` on, and compare it with what lies in the database.

    Of a single tenant only its own streams are looked at, and named; positions that are missing altogether are then
    found by the versions around them. Needs no keys: sealed data is covered as it lies there. `on_progress` gets
    positions. Raises `NotFound` for a tenant that has no events.
    """
    database = log.database
    pk = None if tenant is None else await _tenant(database, tenant)
    state = Recomputing(position=after, is_whole=pk is None)
    end = await _end(database)
    if pk is None:
        _check_end(state, end)
    reached = after
    while reached < end.last:
        upto = await _window(database, reached, end.last, pk)
        rows = await _rows(database, reached, upto, pk)
        await _look_up(database, state, rows)
        state.check(rows)
        reached = upto
        on_progress(upto, end.last)
    if pk is None:
        state.missing(end.position + 1)
        if end.last > after and state.recorded_us != end.recorded_us:
            state.blame("its last event was not recorded when its own account says")
    streams = await _check_streams(database, state, pk)
    on_progress(end.last, end.last)
    return Report(
        end.last, state.events, state.erased, state.truncated, streams, tuple(state.problems), is_cut=state.is_cut
    )


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the log as its one row tells it, and (`last`, `highest_stream`) as the other tables do."""

    position: int
    recorded_us: int
    streams: int
    last: int
    counted: int
    highest_stream: int


async def _end(database: Database) -> _End:
    rows = cast(Sequence[tuple[int | None, ...]], await database.fetch(_END))
    position, recorded_us, streams, last, truncated, counted, highest = (value or 0 for value in rows[0])
    return _End(position, recorded_us, streams, max(last, truncated), counted, highest)


def _check_end(state: Recomputing, end: _End) -> None:
    if end.last > end.position:
        state.blame(f"it ends at position {end.position} by its own account, and there are events up to {end.last}")
    if not end.streams == end.counted == end.highest_stream:
        state.blame(f"it has {end.streams} streams by its own account, and {end.counted} are there")


async def _tenant(database: Database, name: str) -> int:
    rows = await database.fetch("SELECT pk FROM tenant WHERE name = $1", name)
    if not rows:
        raise NotFound(f"The tenant {name!r} has no events.")
    return cast(int, rows[0][0])


def _filtered(sql: str, mark: str, tenant: int | None) -> tuple[str, Sequence[Value]]:
    if tenant is None:
        return sql.format(of_event="", of_truncated=""), ()
    return sql.format(**{name: part.format(mark=mark) for name, part in _OF_TENANT.items()}), (tenant,)


async def _window(database: Database, after: int, last: int, tenant: int | None) -> int:
    """The last position of the next page. Positions have no gaps, so a range of them is a page; where there is a gap
    after all, it may be of any size, and is leapt over."""
    sql, values = _filtered(_SIZE, "$3", tenant)
    count = PAGE_ROWS
    while True:
        upto = min(after + count, last)
        rows = cast(Sequence[tuple[int, int]], await database.fetch(sql, after, upto, *values))
        found, size = rows[0]
        if size > PAGE_BYTES and count > 1:
            count = max(1, min(count // 2, count * PAGE_BYTES // int(size)))
        elif found:
            return upto
        else:
            following = [cast(int, each) for each in (await database.fetch(_NEXT, after))[0] if each is not None]
            return min(max(upto, min(following, default=last) - 1), last)


async def _rows(database: Database, after: int, upto: int, tenant: int | None) -> Sequence[StoredRow]:
    sql, values = _filtered(_ROWS, "$3", tenant)
    return cast(Sequence[StoredRow], await database.fetch(sql, after, upto, *values))


async def _look_up(database: Database, state: Recomputing, rows: Sequence[StoredRow]) -> None:
    """What has to be known before a page can be checked: names of types and streams, and where the streams are."""
    for page in _pages(state.unknown_types(rows)):
        types = await database.fetch(f"SELECT pk, name FROM event_type WHERE pk IN ({_marks(len(page))})", *page)  # noqa: S608 - marks only
        state.types.update(cast(Sequence[tuple[int, str]], types))
    first = state.unknown(rows)
    for page in _pages(first):
        streams = await database.fetch(
            "SELECT s.pk, s.tenant, t.name, s.name FROM stream s JOIN tenant t ON t.pk = s.tenant"  # noqa: S608 - marks only
            f" WHERE s.pk IN ({_marks(len(page))})",
            *page,
        )
        for pk, tenant_pk, tenant, name in cast(Sequence[tuple[int, int, str, str]], streams):
            state.streams[pk] = Reached(tenant_pk, tenant, name)
    for pk, version, position, checksum in await _before(database, [row for row in first.values() if row[2] > 1]):
        if position < first[pk].position and pk in state.streams:
            state.streams[pk].version, state.streams[pk].checksum = version, checksum


async def _before(database: Database, rows: Sequence[StoredRow]) -> Sequence[tuple[int, int, int, bytes]]:
    """Stream, version, position and checksum of the events before these in their streams."""
    found: list[tuple[int, int, int, bytes]] = []
    for at in range(0, len(rows), STREAMS):
        page = rows[at : at + STREAMS]
        wanted = ", ".join(
            f"(CAST(${2 * number + 1} AS BIGINT), CAST(${2 * number + 2} AS BIGINT))" for number in range(len(page))
        )
        columns = "e.stream, e.version, e.position, e.checksum"
        sql = " UNION ALL ".join(
            f"SELECT {columns} FROM wanted JOIN {table} e ON e.stream = wanted.pk AND e.version = wanted.version"  # noqa: S608 - marks only
            for table in ("event", "truncated")
        )
        values = [value for row in page for value in (row.stream, row.version - 1)]
        before = await database.fetch(f"WITH wanted (pk, version) AS (VALUES {wanted}) {sql}", *values)
        found += cast(Sequence[tuple[int, int, int, bytes]], before)
    return found


async def _check_streams(database: Database, state: Recomputing, tenant: int | None) -> int:
    sql = _STREAMS.format(of_stream="" if tenant is None else "AND +s.tenant = $3")
    values = () if tenant is None else (tenant,)
    count, last = 0, 0
    while rows := await database.fetch(sql, last, STREAMS, *values):
        for row in rows:
            last = cast(int, row[0])
            _check_stream(state, row)
        count += len(rows)
    return count


def _check_stream(state: Recomputing, row: Sequence[Value]) -> None:
    """Whether the row of a stream says of its end what its last event says."""
    _, tenant, name, version, first_version, last_position, created_us, updated_us, checksum, *found = row
    newest, oldest, truncated, position, recorded_us, last, began_us = found
    stream = cast(str, name)
    if tenant is None:
        state.blame("its tenant is missing", stream=stream)
    if position is None:
        state.blame(f"its last event, version {version}, is missing", stream=stream)
    elif (last_position, updated_us, checksum) != (position, recorded_us, last):
        state.blame(f"the stream's own row does not agree with its last event, version {version}", stream=stream)
    if newest is not None and cast(int, newest) > cast(int, version):
        state.blame(f"it ends at version {version} by its own row, and has an event {newest}", stream=stream)
    expected_first = cast(int, truncated or 0) + 1
    if first_version != expected_first or (oldest is not None and oldest != expected_first):
        state.blame(
            f"it begins at version {first_version} by its own row, at {oldest} in the log,"
            f" and versions before {expected_first} were truncated",
            stream=stream,
        )
    if began_us is not None and created_us != began_us:
        state.blame("its own row does not agree with its first event", stream=stream, version=1)


def _pages(values: Collection[int]) -> Sequence[Sequence[int]]:
    listed = list(values)
    return [listed[at : at + STREAMS] for at in range(0, len(listed), STREAMS)]


def _marks(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))
