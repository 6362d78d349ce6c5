"""Reading and small writes in PostgreSQL, as `eventlog.database` asks for them."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, final

import anyio

from eventlog.database import Row, Statement, Value
from eventlog.postgres.sessions import Sessions
from eventlog.postgres.wire import Away, CommitUnknown, Session
from stoa.errors import Conflict, OutcomeUnknown, Unavailable

__all__ = ["PostgresDatabase"]

_WHO_AM_I: Final = "SELECT pg_current_xact_id()::text, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
_LOOK_SECONDS: Final = 0.05


class _Transaction(NamedTuple):
    """`timeline` changes when a standby takes over: the numbers of transactions mean something else there."""

    number: str
    timeline: str
    pid: int


@final
class PostgresDatabase:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def __repr__(self) -> str:
        return f"<PostgresDatabase {self._sessions.address}>"

    @property
    def dialect(self) -> Literal["postgres"]:
        return "postgres"

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        async def attempt() -> Sequence[Row]:
            async with self._sessions.session() as session:
                return await session.fetch(sql, *values)

        return await self._sessions.patiently(attempt)

    async def write(self, *statements: Statement) -> None:
        """As `Database.write`. Raises `OutcomeUnknown` in the one case that is left: the connection broke during
        COMMIT, and the server did not come back in time to be asked."""

        async def attempt() -> None:
            doubt: _Transaction | None = None
            try:
                async with self._sessions.session() as session, session.transaction():
                    for statement in statements:
                        await _execute(session, statement)
                    ((number, timeline),) = await session.fetch(_WHO_AM_I)
                    doubt = _Transaction(str(number), str(timeline), session.pid)
            except CommitUnknown as error:
                assert doubt is not None
                if not await self._was_committed(doubt):
                    raise Away(error.message, retry_after=error.retry_after) from error

        await self._sessions.patiently(attempt)

    async def _was_committed(self, doubt: _Transaction) -> bool:
        """Ask the server what became of a transaction. Its process may not know yet that we are gone: it is ended."""
        deadline = anyio.current_time() + self._sessions.away_seconds

        async def ask() -> str:
            async with self._sessions.session() as session:
                ((_, timeline),) = await session.fetch(_WHO_AM_I)
                if timeline != doubt.timeline:
                    return "another timeline"
                ((status,),) = await session.fetch("SELECT pg_xact_status($1::text::xid8)", doubt.number)
                if status == "in progress":
                    await session.fetch("SELECT pg_terminate_backend($1)", doubt.pid)
                return str(status)

        try:
            while (status := await self._sessions.patiently(ask)) == "in progress":
                if anyio.current_time() > deadline:
                    break
                await anyio.sleep(_LOOK_SECONDS)
        except Unavailable as error:
            status = error.message
        if status in {"committed", "aborted"}:
            return status == "committed"
        raise OutcomeUnknown(
            f"The connection to PostgreSQL broke during a commit, and what became of it cannot be told ({status}).",
            hint="Read what is there before you write again.",
        )


async def _execute(session: Session, statement: Statement) -> None:
    sql, rows, must_change = statement.sql, statement.rows, statement.must_change
    if len(rows) == 1:
        changed = await session.change(sql, rows[0])
    elif must_change is None:
        await session.change_many(sql, rows)
        return
    else:  # in a pipeline; the rows that come back are counted
        changed = len(await session.fetch_many(f"{sql} RETURNING 1", rows)) if rows else 0
    if must_change is not None and changed != must_change:
        raise Conflict(
            "What was to be changed has been changed by somebody else since it was read.",
            hint="Read again and decide again.",
        )
