"""Every earlier version of the tables, with rows in all of them, becomes the newest one: no row is lost or changed."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import pytest

from eventlog.database import Database, Row, Statement
from eventlog.event import Appended, StreamId
from eventlog.log import EventLog
from eventlog.migrations.all import MIGRATIONS
from eventlog.migrations.step import Migration
from eventlog.migrations.subjects import SUBJECTS
from eventlog.open import serve_log
from eventlog.postgres.store import open_postgres
from eventlog.sqlite.database import open_database
from eventlog.sqlite.opening import Opening
from eventlog.sqlite.store import APPLICATION_ID, SqliteStore
from eventlog.store import Store
from stoa.clock import SystemClock
from stoa.errors import BadInput, Conflict
from tests.eventlog.proofs.worker import events

OF_FILE = tuple(step for step in MIGRATIONS if step is not SUBJECTS)  # keys of subjects lie in a file of their own
NEWER = Migration(max(step.number for step in MIGRATIONS) + 1, "newer", ("CREATE TABLE newer (pk {integer})",))
VALUES = {"integer": 1, "bigint": 1, "text": "one", "blob": b"one", "bytea": b"one"}


@asynccontextmanager
async def opened(where: Path | str, steps: Sequence[Migration]) -> AsyncGenerator[Store]:
    if isinstance(where, str):
        async with open_postgres(where, clock=SystemClock(), migrations=steps) as store:
            yield store
    else:
        async with open_database(Opening(where, APPLICATION_ID, steps)) as database:
            yield SqliteStore(database)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "postgres":
        return cast(str, request.getfixturevalue("postgres_url"))
    return tmp_path / "events.db"


def steps_for(where: Path | str) -> Sequence[Migration]:
    return MIGRATIONS if isinstance(where, str) else OF_FILE


async def tables(database: Database) -> Mapping[str, Mapping[str, str]]:
    """The types of the columns of each table."""
    if database.dialect == "postgres":
        sql = (
            "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns"
            " WHERE table_schema = 'stoa' ORDER BY ordinal_position"
        )
    else:
        sql = "SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
    found: dict[str, dict[str, str]] = {}
    for table, column, type in await database.fetch(sql):
        found.setdefault(str(table), {})[str(column)] = str(type).lower()
    return {table: columns for table, columns in found.items() if table not in {"migration", "sqlite_sequence"}}


async def fill(database: Database) -> Mapping[str, Row]:
    """A row in each table."""
    waiting, filled = dict(await tables(database)), dict[str, Row]()
    while waiting:
        table, columns = next(iter(waiting.items()))
        del waiting[table]
        marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        row = [VALUES[type] for type in columns.values()]
        try:
            await database.write(
                Statement(f"DELETE FROM {table}"),
                Statement(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", [row]),
            )
        except Conflict:  # it refers to one that comes later
            waiting[table] = columns
        else:
            filled[table] = row
    return filled


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
async def test_rows_of_every_earlier_version_are_kept(where: Path | str, version: int) -> None:
    steps = steps_for(where)
    if version >= len(steps):
        pytest.skip("the newest version, in a file")
    async with opened(where, steps[:version]) as store:
        kept = await fill(store.database)
        assert kept
    async with opened(where, steps) as store:
        recorded = await store.database.fetch("SELECT number, name FROM migration ORDER BY number")
        assert [tuple(row) for row in recorded] == [(step.number, step.name) for step in steps]
        now = await tables(store.database)
        for table, row in kept.items():
            columns = ", ".join(list(now[table])[: len(row)])
            assert [tuple(found) for found in await store.database.fetch(f"SELECT {columns} FROM {table}")] == [
                tuple(row)
            ]
        # The end of the log, a stream and its event were among them: appending goes on behind.
        async with serve_log(store) as log:
            assert (await appended(log)).position == 2


async def test_an_empty_database_gets_the_newest_version(where: Path | str) -> None:
    async with opened(where, steps_for(where)) as store:
        assert await store.database.fetch("SELECT MAX(number) FROM migration") == [(steps_for(where)[-1].number,)]


async def test_a_database_of_a_newer_stoa_is_refused(where: Path | str) -> None:
    async with opened(where, [*steps_for(where), NEWER]):
        pass
    with pytest.raises(BadInput, match="newer Stoa"):
        async with opened(where, steps_for(where)):
            pass


async def test_a_step_that_fails_leaves_the_version_before(where: Path | str) -> None:
    broken = Migration(NEWER.number, "broken", ("CREATE TABLE half (pk {integer})", "CREATE TABEL other"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - a mistake in the code, whatever it is called
        async with opened(where, [*steps_for(where), broken]):
            pass
    async with opened(where, steps_for(where)) as store:
        assert "half" not in await tables(store.database)
        async with serve_log(store) as log:
            if store.database.dialect == "postgres":
                assert (await appended(log)).position == 1


async def test_several_that_come_at_once_take_each_step_once(where: Path | str) -> None:
    seen: list[int] = []

    async def come() -> None:
        async with opened(where, steps_for(where)) as store:
            seen.append(len(await store.database.fetch("SELECT number FROM migration")))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(come)
    assert seen == [len(steps_for(where))] * 6


async def appended(log: EventLog) -> Appended:
    return await log.append_to(StreamId("acme", "order-1"), events(1))
