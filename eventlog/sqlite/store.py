"""The log on SQLite: a batch in one transaction, and how a process notices that another one has written.

What was learnt about streams, tenants and types is remembered only while the end of the log is where this store left
it: then nobody else has appended.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Final, NamedTuple, cast

import anyio

from eventlog.decide import EVENT_COLUMNS, End, Known, StreamRow, has_more_doubts, place, write_down
from eventlog.event import StreamId, microseconds
from eventlog.sqlite.database import SqliteDatabase
from eventlog.store import Outcome, Request
from stoa.clock import Clock, SystemClock

__all__ = ["APPLICATION_ID", "SqliteStore"]

APPLICATION_ID: Final = 0x53744576  # "StEv"
POLL_SECONDS: Final = 0.05
"""Between looks whether another process has written, while somebody waits for it."""
MAX_REMEMBERED: Final = 50_000
"""Streams."""
ROWS_AT_ONCE: Final = (2000, 500, 100, 20, 4, 1)
"""In one INSERT. A statement is worked off without Python's lock, so the event loop goes on beside it; but after each
one the lock has to be waited for. Few sizes, because each is a statement of its own to be prepared and kept."""
IDS_AT_ONCE: Final = 500

_STREAM: Final = (
    "SELECT s.pk, s.tenant, s.name, s.version, s.first_version, s.last_position, s.created_us, s.updated_us, s.checksum"
    " FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE t.name = ? AND s.name = ?"
)
_EVENTS: Final = f"INSERT INTO event ({', '.join(EVENT_COLUMNS)}) VALUES "  # noqa: S608 - names only
# `first_version` belongs to whoever truncates the stream.
_HEADS: Final = f"INSERT INTO stream ({', '.join(StreamRow._fields)}) VALUES "  # noqa: S608 - names only
_NEWER: Final = (
    " ON CONFLICT (pk) DO UPDATE SET version = excluded.version, last_position = excluded.last_position,"
    " updated_us = excluded.updated_us, checksum = excluded.checksum"
)


class SqliteStore:
    def __init__(self, database: SqliteDatabase, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        # Touched by one writing thread at a time.
        self._left: End | None = None
        self._streams: dict[StreamId, StreamRow] = {}
        self._tenants: dict[str, int] = {}
        self._types: dict[str, int] = {}
        # Touched by the event loop alone.
        self._seen = 0
        self._seen_version: int | None = None
        self._grown = anyio.Event()
        self._is_watched = False

    def __repr__(self) -> str:
        return f"<SqliteStore {self._database!r}, {self._seen} events seen>"

    @property
    def database(self) -> SqliteDatabase:
        return self._database

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        done = await self._database.transact(
            lambda connection: self._append(connection, requests),
            # An event is there already, most likely: look all ids up.
            again=lambda connection: self._append(connection, requests, is_repeated=True),
            committed=self._remember,
        )
        self._has_seen(done.end.position)
        return done.outcomes

    async def synchronous(self) -> str:
        """How far a commit goes before it is answered, as the connection that writes tells it: FULL."""
        (level,) = await self._database.transact(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
        return ("OFF", "NORMAL", "FULL", "EXTRA")[cast(int, level)]

    async def grown(self, position: int) -> None:
        while self._seen <= position:
            if not self._database.is_shared or self._is_watched:
                await self._grown.wait()
                continue
            # One of those who wait watches for all; when it goes, another one takes its place.
            self._is_watched = True
            try:
                while self._seen <= position:
                    await self._look()
                    if self._seen <= position:
                        with anyio.move_on_after(POLL_SECONDS):
                            await self._grown.wait()
            finally:
                self._is_watched = False
                self._wake()

    async def _look(self) -> None:
        version = self._database.data_version()
        if version != self._seen_version:
            rows = await self._database.fetch("SELECT position FROM log WHERE id = 1")
            self._seen_version = version
            self._has_seen(cast(int, rows[0][0]) if rows else 0)

    def _has_seen(self, position: int) -> None:
        if position > self._seen:
            self._seen = position
            self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = anyio.Event()

    # In a writing thread, one at a time.

    def _append(
        self, connection: sqlite3.Connection, requests: Sequence[Request], *, is_repeated: bool = False
    ) -> "_Done":
        end = End(*connection.execute("SELECT position, recorded_us, streams FROM log WHERE id = 1").fetchone())
        if end != self._left or len(self._streams) > MAX_REMEMBERED:
            self._streams.clear()
            self._tenants.clear()
            self._types.clear()
        self._left = None  # until this one is committed: else numbers that were undone would be remembered
        streams = self._find_streams(connection, {request.stream for request in requests})
        known = None
        if is_repeated or _is_truncated(connection, requests):
            known = _look_up(connection, requests, streams)
        placed = place(requests, position=end.position, streams=streams, known=known)
        if placed.doubtful:
            known = _look_up(connection, placed.doubtful, streams)
            again = place(requests, position=end.position, streams=streams, known=known)
            if has_more_doubts(requests, again.outcomes, placed.doubtful):
                known = _look_up(connection, requests, streams)
                again = place(requests, position=end.position, streams=streams, known=known)
            placed = again
        accepted = [each.request for each in placed.accepted]
        if not accepted:
            return _Done(placed.outcomes, end, {})
        written = write_down(
            placed.accepted,
            end=end,
            now_us=microseconds(self._clock.now()),
            streams=streams,
            tenants=_pks(connection, "tenant", self._tenants, {request.stream.tenant for request in accepted}),
            types=_pks(
                connection, "event_type", self._types, {event.type for each in accepted for event in each.events}
            ),
        )
        _insert(connection, _EVENTS, written.events)
        _insert(connection, _HEADS, (*written.created, *written.changed), _NEWER)
        connection.execute("UPDATE log SET position = ?, recorded_us = ?, streams = ? WHERE id = 1", written.end)
        return _Done(placed.outcomes, written.end, written.heads)

    def _remember(self, done: "_Done") -> None:
        self._left = done.end
        self._streams.update(done.heads)

    def _find_streams(self, connection: sqlite3.Connection, wanted: Iterable[StreamId]) -> dict[StreamId, StreamRow]:
        found: dict[StreamId, StreamRow] = {}
        for stream in wanted:
            head = self._streams.get(stream)
            if head is None:
                row = connection.execute(_STREAM, stream).fetchone()
                if row is None:
                    continue
                head = StreamRow(*row)
            found[stream] = head
        return found


class _Done(NamedTuple):
    outcomes: Sequence[Outcome]
    end: End
    heads: Mapping[StreamId, StreamRow]


def _pks(connection: sqlite3.Connection, table: str, known: dict[str, int], names: Iterable[str]) -> Mapping[str, int]:
    """The numbers of names, with those that were not known yet."""
    for name in names:
        if name not in known:
            row = connection.execute(f"SELECT pk FROM {table} WHERE name = ?", (name,)).fetchone()  # noqa: S608 - ours
            if row is None:
                sql = f"INSERT INTO {table} (name) VALUES (?) RETURNING pk"  # noqa: S608 - ours
                row = connection.execute(sql, (name,)).fetchone()
            known[name] = row[0]
    return known


def _insert(connection: sqlite3.Connection, sql: str, rows: Sequence[Sequence[object]], rest: str = "") -> None:
    at = 0
    for size in ROWS_AT_ONCE:
        while len(rows) - at >= size:
            part = rows[at : at + size]
            connection.execute(_spelt(sql, size, len(part[0]), rest), list(chain.from_iterable(part)))
            at += size


@lru_cache
def _spelt(sql: str, rows: int, columns: int, rest: str) -> str:
    return sql + ", ".join([f"({', '.join('?' * columns)})"] * rows) + rest


def _look_up(
    connection: sqlite3.Connection, requests: Sequence[Request], streams: Mapping[StreamId, StreamRow]
) -> dict[bytes, Known]:
    """Where the events of these requests are that were appended before."""
    by_pk = {row.pk: stream for stream, row in streams.items()}
    known: dict[bytes, Known] = {}
    for ids in _ids(requests):
        marks = ", ".join("?" * len(ids))
        for table in ("event", "truncated"):
            sql = f"SELECT event_id, stream, version, position FROM {table} WHERE event_id IN ({marks})"  # noqa: S608 - marks
            for event_id, stream, version, position in connection.execute(sql, ids):
                known[event_id] = Known(by_pk.get(stream), version, position)
    return known


def _is_truncated(connection: sqlite3.Connection, requests: Sequence[Request]) -> bool:
    """Whether an id is one of those that only the table `truncated` still has: no index refuses it."""
    if connection.execute("SELECT 1 FROM truncated LIMIT 1").fetchone() is None:
        return False
    for ids in _ids(requests):
        marks = ", ".join("?" * len(ids))
        if connection.execute(f"SELECT 1 FROM truncated WHERE event_id IN ({marks}) LIMIT 1", ids).fetchone():  # noqa: S608 - marks
            return True
    return False


def _ids(requests: Sequence[Request]) -> Iterator[Sequence[bytes]]:
    """Of all events, so many that one statement takes them."""
    waiting = iter({event.event_id for request in requests for event in request.events})
    while ids := tuple(islice(waiting, IDS_AT_ONCE)):
        yield ids
