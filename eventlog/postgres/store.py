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

from eventlog.decide import EVENT_COLUMNS, Known, StreamRow, has_more_doubts, place, write_down
from eventlog.event import Appended, StreamId, microseconds
from eventlog.migrations.all import MIGRATIONS
from eventlog.migrations.step import Migration
from eventlog.postgres.address import Address
from eventlog.postgres.database import PostgresDatabase
from eventlog.postgres.growth import Growth, listen
from eventlog.postgres.heads import Heads
from eventlog.postgres.migrating import check_server, migrate
from eventlog.postgres.names import NumberedNames
from eventlog.postgres.sessions import AWAY_SECONDS, Sessions
from eventlog.postgres.wire import CommitUnknown, Duplicate, Session, connect
from eventlog.store import Outcome, Request
from stoa.clock import Clock
from stoa.errors import Fault, OutcomeUnknown, StoaError
from stoa.tasks import beside

__all__ = ["PostgresStore", "open_postgres"]

CAREFUL_BATCHES: Final = 20
"""After a repeat was met, so many batches look ids up beforehand: repeats come in herds, after a crash for instance."""

_LOCK: Final = "BEGIN; SELECT 1 FROM log WHERE id = 1 FOR UPDATE"
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)
_KNOWN: Final = """
SELECT event_id, stream, version, position FROM event WHERE event_id = ANY ($1::bytea[])
UNION ALL SELECT event_id, stream, version, position FROM truncated WHERE event_id = ANY ($1::bytea[])
"""
_IS_TRUNCATED: Final = "SELECT EXISTS (SELECT 1 FROM truncated WHERE event_id = ANY ($1::bytea[]))"
# The heads are in the events that were just copied: only their positions are sent. `first_version` belongs to whoever
# truncates a stream.
_FINISH: Final = """
WITH created AS (
    INSERT INTO stream (
        pk, tenant, name, version, first_version, last_position, created_us, updated_us, checksum
    )
    SELECT event.stream, event.tenant, new.name, event.version, 1, event.position, recorded_us, recorded_us, checksum
    FROM unnest($1::text[], $2::bigint[]) AS new (name, position) JOIN event ON event.position = new.position
), changed AS (
    UPDATE stream SET version = event.version, last_position = event.position, updated_us = event.recorded_us,
        checksum = event.checksum
    FROM event WHERE event.position = ANY ($3::bigint[]) AND stream.pk = event.stream
), moved AS (
    UPDATE log SET position = $4, recorded_us = $5, streams = $6 WHERE id = 1
)
SELECT pg_notify('stoa_log', $4::bigint::text)
"""

_log: Final = logging.getLogger(__name__)


@asynccontextmanager
async def open_postgres(
    url: str,
    *,
    clock: Clock,
    rng: random.Random | None = None,
    migrations: Sequence[Migration] = MIGRATIONS,
    away_seconds: float = AWAY_SECONDS,
) -> AsyncGenerator["PostgresStore"]:
    """A log in the PostgreSQL at `url`, with its tables made or brought up to date.

    Opens at most six connections: four for reading and small writes, one for appending, one that listens; each when it
    is needed first. Raises `BadInput` for an address or a server that cannot be used, `Unavailable` when it is away.
    """
    address = Address.parse(url)
    rng = rng or random.Random()  # noqa: S311 - spreads waits, keeps no secret
    sessions = Sessions(address, rng=rng, away_seconds=away_seconds)

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
        await sessions.patiently(prepare)
        growth = Growth()
        store = PostgresStore(sessions, growth, clock=clock)
        async with beside() as tasks:
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
    def __init__(self, sessions: Sessions, growth: Growth, *, clock: Clock) -> None:
        self._sessions = sessions
        self._database = PostgresDatabase(sessions)
        self._growth = growth
        self._clock = clock
        self._writer: tuple[Session, Heads] | None = None
        self._tenants = NumberedNames("tenant")
        self._types = NumberedNames("event_type")
        self._careful = 0
        self._placed: Sequence[Outcome] = ()  # by the newest attempt

    def __repr__(self) -> str:
        return f"<PostgresStore {self._sessions.address}, heard up to {self._growth.position}>"

    @property
    def database(self) -> PostgresDatabase:
        return self._database

    async def grown(self, position: int) -> None:
        await self._growth.beyond(position)

    async def aclose(self) -> None:
        if self._writer is not None:
            await self._writer[0].close()

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
            outcomes = await self._sessions.patiently(attempt)
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
        session, heads = await self._session()
        async with session.transaction(_LOCK):
            end, streams, has_truncated = await heads.find({request.stream for request in requests}, self._tenants)
            known = None
            if is_careful or (has_truncated and await _is_truncated(session, requests)):
                known = await _looked_up(session, requests, streams)
            placed = place(requests, position=end.position, streams=streams, known=known)
            if placed.doubtful:
                known = await _looked_up(session, placed.doubtful, streams)
                again = place(requests, position=end.position, streams=streams, known=known)
                if has_more_doubts(requests, again.outcomes, placed.doubtful):
                    known = await _looked_up(session, requests, streams)
                    again = place(requests, position=end.position, streams=streams, known=known)
                placed = again
            self._placed = placed.outcomes
            accepted = placed.accepted
            tenants = await self._tenants.number(
                session, dict.fromkeys(request.stream.tenant for request, _ in accepted)
            )
            types = await self._types.number(
                session, {event.type for request, _ in accepted for event in request.events}
            )
            now_us = microseconds(self._clock.now())
            written = write_down(accepted, end=end, now_us=now_us, streams=streams, tenants=tenants, types=types)
            if written.events:
                await session.copy("event", EVENT_COLUMNS, written.events)
                await session.fetch(
                    _FINISH,
                    [head.name for head in written.created],
                    [head.last_position for head in written.created],
                    [head.last_position for head in written.changed],
                    *written.end,
                )
            elif known:
                # So that this commit, too, waits until all before it is on disk, and with a synchronous standby there:
                # the repeats that are answered may come from a commit of which nobody was told.
                await session.run("UPDATE log SET position = position WHERE id = 1")
        self._tenants.keep()
        self._types.keep()
        heads.wrote(written)
        self._growth.reached(written.end.position)
        return placed.outcomes

    async def _session(self) -> tuple[Session, Heads]:
        if self._writer is None or self._writer[0].is_closed:
            session = await connect(self._sessions.address)
            await session.fetch(_DURABLE)
            self._writer = session, Heads(session)
        return self._writer


async def _looked_up(
    session: Session, requests: Sequence[Request], streams: Mapping[StreamId, StreamRow]
) -> Mapping[bytes, Known]:
    """Where the events of the requests are already, by their ids."""
    named = {streams[stream].pk: stream for stream in {request.stream for request in requests} if stream in streams}
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
