"""Brings the tables of a database to the version that this Stoa knows, one process at a time, and writes down how."""

from collections.abc import Sequence
from typing import Final

from eventlog.database import Row
from eventlog.migrations.step import Migration
from eventlog.postgres.address import VARIABLE
from eventlog.postgres.wire import SCHEMA, Session
from stoa.errors import BadInput

__all__ = ["OLDEST_SERVER", "check_server", "migrate"]

OLDEST_SERVER: Final = 140000
"""As PostgreSQL numbers itself: 14.0."""

STEP_SECONDS: Final = 3_600.0

_KEY: Final = int.from_bytes(b"stoa.log")  # of the advisory lock
_RECORD: Final = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.migration (
    number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_us BIGINT NOT NULL
)
"""


async def check_server(session: Session) -> Sequence[str]:
    """What people should hear about the server. Raises `BadInput` when the log cannot lie in it."""
    (row,) = await session.fetch(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
        " current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes')"
    )
    number, version, encoding, fsync, full_pages = row
    if int(str(number)) < OLDEST_SERVER:
        raise BadInput(f"{VARIABLE} leads to PostgreSQL {version}.", hint="Give version 14 or newer.")
    if encoding != "UTF8":
        raise BadInput(f"The database has the encoding {encoding}.", hint="Create one with ENCODING 'UTF8'.")
    off = [name for name, value in (("fsync", fsync), ("full_page_writes", full_pages)) if value != "on"]
    return [f"PostgreSQL runs with {name} = off: events are lost when its machine crashes." for name in off]


async def migrate(session: Session, steps: Sequence[Migration], *, now_us: int) -> Sequence[int]:
    """The numbers of the steps that were taken now. Several processes may come at once: each step is taken by one.

    Raises `BadInput` when the database was left by a newer Stoa.
    """
    taken: list[int] = []
    if await _next(session, steps) is None:
        return taken
    while True:
        async with session.transaction(f"BEGIN; SELECT pg_advisory_xact_lock({_KEY}); SET LOCAL statement_timeout = 0"):
            step = await _next(session, steps)
            if step is None:
                return taken
            if not await session.fetch("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", SCHEMA):
                # Not IF NOT EXISTS: that asks for the right to create one even where there is one.
                await session.run(f"CREATE SCHEMA {SCHEMA}")
            await session.run(_RECORD)
            for statement in step.spelt_for("postgres"):
                await session.run(statement, seconds=STEP_SECONDS)
            await session.change("INSERT INTO migration VALUES ($1, $2, $3)", (step.number, step.name, now_us))
        taken.append(step.number)


async def _next(session: Session, steps: Sequence[Migration]) -> Migration | None:
    # Not to_regclass: a session that asked before it waited for the lock would get the same answer from its memory.
    is_there = await session.fetch(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = 'migration'",
        SCHEMA,
    )
    rows: Sequence[Row] = await session.fetch("SELECT number, name FROM migration") if is_there else []
    done = {int(str(number)): name for number, name in rows}
    newest = max(done, default=0)
    if newest > max((step.number for step in steps), default=0):
        raise BadInput(
            f"The database is at step {newest} ({done[newest]}), which this Stoa does not know.",
            hint="Install the newer Stoa that was used with it.",
        )
    return next((step for step in steps if step.number not in done), None)
