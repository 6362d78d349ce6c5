"""Appending to the log in PostgreSQL: one short transaction for each batch.

    BEGIN, and lock the one row of `log`      from here on nobody else appends
    the end of the log and the heads          in a statement of its own: it sees what was committed before the lock
    COPY the events                           their positions are known beforehand
    heads, the new end, NOTIFY                one statement
    COMMIT                                    durable, by synchronous_commit

Positions so are without a gap and in the order of commits, whichever process appends: the lock is held until a commit
can be seen by everybody.
"""

import logging
import random
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, cast, final

import anyio

from eventlog.decide import EVENT_COLUMNS, End, Known, Placed, StreamRow, Written, place, write_down
from eventlog.event import Appended, StreamId, microseconds
from eventlog.migrations.all import MIGRATIONS
from eventlog.migrations.step import Migration
from eventlog.postgres.address import Address
from eventlog.postgres.database import PostgresDatabase
from eventlog.postgres.growth import Growth, listen
from eventlog.postgres.migrating import check_server, migrate
from eventlog.postgres.names import NumberedNames
from eventlog.postgres.sessions import Sessions, patiently
from eventlog.postgres.wire import CommitUnknown, Duplicate, Session, connect
from eventlog.store import Outcome, Request
from stoa.clock import Clock
from stoa.errors import Fault, OutcomeUnknown, StoaError

__all__ = ["PostgresStore", "open_postgres"]

CAREFUL_BATCHES: Final = 20
"""After a repeat was met, so many batches look ids up beforehand: repeats come in herds, after a crash for instance."""

_LOCK: Final = "BEGIN; SELECT 1 FROM log WHERE id = 1 FOR UPDATE"
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)
_FOUND: Final = """
SELECT log.position, log.recorded_us, log.streams, EXISTS (SELECT 1 FROM truncated), head.*
FROM log LEFT JOIN (
    SELECT stream.pk, stream.tenant, stream.name, version, first_version, last_position, created_us, updated_us,
        checksum
    FROM unnest($1::bigint[], $2::text[]) AS wanted (tenant, name)
    JOIN stream ON stream.tenant = wanted.tenant AND stream.name = wanted.name
) AS head ON true
WHERE log.id = 1
"""
_KNOWN: Final = """
SELECT event_id, stream, version, position FROM event WHERE event_id = ANY ($1::bytea[])
UNION ALL SELECT event_id, stream, version, position FROM truncated WHERE event_id = ANY ($1::bytea[])
"""
_IS_TRUNCATED: Final = "SELECT EXISTS (SELECT 1 FROM truncated WHERE event_id = ANY ($1::bytea[]))"
# `first_version` belongs to whoever truncates a stream, and stays as it is.
_FINISH: Final = """
WITH heads AS (
    INSERT INTO stream
    SELECT * FROM unnest(
        $1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::bytea[]
    )
    ON CONFLICT (pk) DO UPDATE SET version = excluded.version, last_position = excluded.last_position,
        updated_us = excluded.updated_us, checksum = excluded.checksum
), moved AS (
    UPDATE log SET position = $10, recorded_us = $11, streams = $12 WHERE id = 1
)
SELECT pg_notify('stoa_log', $10::bigint::text)
"""

_log: Final = logging.getLogger(__name__)


@asynccontextmanager
async def open_postgres(
    url: str, *, clock: Clock, rng: random.Random | None = None, migrations: Sequence[Migration] = MIGRATIONS
) -> AsyncGenerator["PostgresStore"]:
    """A log in the PostgreSQL at `url`, with its tables made or brought up to date.

    Opens at most six connections: four for reading and small writes, one for appending, one that listens; each when it
    is needed first. Raises `BadInput` for an address or a server that cannot be used, `Unavailable` when it is away.
    """
    address = Address.parse(url)
    rng = rng or random.Random()  # noqa: S311 - spreads waits, keeps no secret
    sessions = Sessions(address)

    async def prepare() -> None:
        async with sessions.session() as session:
            for warning in await check_server(session):
                _log.warning("%s", warning)
            now_us = microseconds(clock.now())
            await migrate(session, migrations, now_us=now_us)
            await session.change(
                "INSERT INTO log (id, epoch, position, recorded_us, streams) VALUES (1, $1, 0, 0, 0)"
                " ON CONFLICT DO NOTHING",
                (uuid.uuid4().hex,),
            )

    try:
        await patiently(prepare, rng=rng)
        growth = Growth()
        store = PostgresStore(PostgresDatabase(sessions, rng=rng), address, growth, clock=clock, rng=rng)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(listen, growth, address, rng=rng))
            try:
                yield store
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await store.aclose()
    finally:
        with anyio.CancelScope(shield=True):
            await sessions.aclose()


@final
class PostgresStore:
    def __init__(
        self, database: PostgresDatabase, address: Address, growth: Growth, *, clock: Clock, rng: random.Random
    ) -> None:
        self._database = database
        self._address = address
        self._growth = growth
        self._clock = clock
        self._rng = rng
        self._writer: Session | None = None
        self._tenants = NumberedNames("tenant")
        self._types = NumberedNames("event_type")
        self._careful = 0
        self._placed: Sequence[Outcome] = ()  # by the newest attempt

    def __repr__(self) -> str:
        return f"<PostgresStore {self._address}, heard up to {self._growth.position}>"

    @property
    def database(self) -> PostgresDatabase:
        return self._database

    async def grown(self, position: int) -> None:
        await self._growth.beyond(position)

    async def aclose(self) -> None:
        if self._writer is not None:
            await self._writer.close()

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """As `Store.commit`. When the connection breaks during COMMIT, the batch is sent once more with its ids looked
        up: what was written is answered so. Raises `OutcomeUnknown` when the server does not come back for that."""
        doubt: Sequence[Outcome] = ()

        async def attempt() -> Sequence[Outcome]:
            nonlocal doubt
            is_careful = bool(doubt) or self._careful > 0
            try:
                try:
                    return await self._append(requests, is_careful=is_careful)
                except Duplicate:
                    self._careful = CAREFUL_BATCHES
                    return await self._append(requests, is_careful=True)
            except CommitUnknown:
                doubt = doubt or self._placed
                raise
            except Duplicate as error:
                raise Fault("PostgreSQL has an event of the same id or version that was not found.") from error

        try:
            outcomes = await patiently(attempt, rng=self._rng)
        except StoaError as error:
            if not doubt:
                raise
            raise OutcomeUnknown(
                f"The connection to PostgreSQL broke during a commit: {error.message}",
                hint="Append the same events again, with the same ids: they are not appended twice.",
            ) from error
        self._careful = max(self._careful - 1, 0)
        # A repeat of our own attempt that was in doubt is no repeat to the caller.
        return [first if _is_same(first, now) else now for first, now in zip(doubt or outcomes, outcomes, strict=True)]

    async def _append(self, requests: Sequence[Request], *, is_careful: bool) -> Sequence[Outcome]:
        session = await self._session()
        async with session.transaction(_LOCK):
            end, streams, has_truncated = await self._found(session, requests)
            known = None
            if is_careful or (has_truncated and await _is_truncated(session, requests)):
                known = await _looked_up(session, requests, streams)
            placed = place(requests, position=end.position, streams=streams, known=known)
            if placed.doubtful:
                known = await _looked_up(session, requests, streams)
                placed = place(requests, position=end.position, streams=streams, known=known)
            self._placed = placed.outcomes
            written = await self._written(session, placed, end, streams)
            if written.events:
                await session.copy("event", EVENT_COLUMNS, written.events)
                await session.fetch(_FINISH, *zip(*written.created, *written.changed, strict=True), *written.end)
            elif known:
                # So that this commit, too, waits until all before it is on disk, and with a synchronous standby there:
                # the repeats that are answered may come from a commit of which nobody was told.
                await session.run("UPDATE log SET position = position WHERE id = 1")
        self._tenants.keep()
        self._types.keep()
        self._growth.reached(written.end.position)
        return placed.outcomes

    async def _found(
        self, session: Session, requests: Sequence[Request]
    ) -> tuple[End, Mapping[StreamId, StreamRow], bool]:
        """The end of the log, the streams that exist, and whether any event was ever truncated."""
        wanted = {request.stream for request in requests}
        tenants = await self._tenants.find(session, {stream.tenant for stream in wanted})
        numbered = [(tenants[stream.tenant], stream) for stream in wanted if stream.tenant in tenants]
        rows = await session.fetch(_FOUND, [number for number, _ in numbered], [stream.name for _, stream in numbered])
        if not rows:
            raise Fault("The log has lost its end: the table log is empty.")
        names = {tenants[stream.tenant]: stream.tenant for stream in wanted if stream.tenant in tenants}
        first: Any = rows[0]
        heads = [StreamRow(*row[4:]) for row in cast("Sequence[Any]", rows) if row[4] is not None]
        return End(*first[:3]), {StreamId(names[head.tenant], head.name): head for head in heads}, first[3]

    async def _written(
        self, session: Session, placed: Placed, end: End, streams: Mapping[StreamId, StreamRow]
    ) -> Written:
        accepted = placed.accepted
        tenants = await self._tenants.number(session, {request.stream.tenant for request, _ in accepted})
        types = await self._types.number(session, {event.type for request, _ in accepted for event in request.events})
        now_us = microseconds(self._clock.now())
        return write_down(accepted, end=end, now_us=now_us, streams=streams, tenants=tenants, types=types)

    async def _session(self) -> Session:
        if self._writer is None or self._writer.is_closed:
            self._writer = await connect(self._address)
            await self._writer.fetch(_DURABLE)
        return self._writer


async def _looked_up(
    session: Session, requests: Sequence[Request], streams: Mapping[StreamId, StreamRow]
) -> Mapping[bytes, Known]:
    """Where the events of the requests are already, by their ids."""
    named = {head.pk: stream for stream, head in streams.items()}
    rows = cast("Sequence[Any]", await session.fetch(_KNOWN, _ids(requests)))
    return {event_id: Known(named.get(stream), version, position) for event_id, stream, version, position in rows}


async def _is_truncated(session: Session, requests: Sequence[Request]) -> bool:
    ((found,),) = await session.fetch(_IS_TRUNCATED, _ids(requests))
    return bool(found)


def _ids(requests: Sequence[Request]) -> list[bytes]:
    return [event.event_id for request in requests for event in request.events]


def _is_same(first: Outcome, now: Outcome) -> bool:
    if not isinstance(first, Appended) or not isinstance(now, Appended):
        return False
    return (first.first_version, first.version, first.position) == (now.first_version, now.version, now.position)
