"""Opening the log where the settings say: the file `events.db` under STOA_HOME, or PostgreSQL; or in memory."""

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from eventlog.database import Statement
from eventlog.group_commit import Limits
from eventlog.log import EventLog
from eventlog.migrations.all import MIGRATIONS
from eventlog.migrations.step import Migration
from eventlog.migrations.subjects import SUBJECTS
from eventlog.schemas import TypeRegistry
from eventlog.sealing import SubjectKeys as Keys
from eventlog.sqlite.database import open_database
from eventlog.sqlite.opening import Opening
from eventlog.sqlite.store import APPLICATION_ID, SqliteStore
from eventlog.store import Store
from eventlog.subjects.keys import SubjectKeys
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput
from stoa.home import open_home, secret_key
from stoa.settings import Settings
from stoa.tasks import beside

__all__ = ["open_log", "open_memory", "open_sqlite", "serve_log"]

SUBJECTS_ID: Final = 0x53744573  # "StEs"

# The keys of subjects lie in a file of their own: a backup of the log must not bring an erased person back.
_OF_LOG: Final[Sequence[Migration]] = tuple(step for step in MIGRATIONS if step is not SUBJECTS)


@asynccontextmanager
async def open_log(
    settings: Settings, *, types: TypeRegistry | None = None, clock: Clock | None = None
) -> AsyncGenerator[EventLog]:
    """The log of these settings, made where there is none. Raises `BadInput` for what cannot be opened."""
    home = open_home(settings.home)
    clock = clock or SystemClock()
    if settings.database_url is not None:
        open_postgres = _postgres()
        async with open_postgres(settings.database_url.get_secret_value(), clock=clock) as store:
            keys = SubjectKeys(store.database, secret_key(settings), clock=clock)
            async with serve_log(store, types=types, keys=keys, clock=clock) as log:
                yield log
    else:
        subjects = Opening(home / "subjects.db", SUBJECTS_ID, (SUBJECTS,))
        async with open_sqlite(home / "events.db", clock=clock) as store, open_database(subjects, clock=clock) as kept:
            keys = SubjectKeys(kept, secret_key(settings), clock=clock)
            async with serve_log(store, types=types, keys=keys, clock=clock) as log:
                yield log


def _postgres() -> Callable[..., AbstractAsyncContextManager[Store]]:
    """Loaded where it is wanted only: its client is an extra."""
    try:
        from eventlog.postgres.store import open_postgres
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "asyncpg":
            raise
        raise BadInput(
            "For the event log in PostgreSQL (STOA_DATABASE_URL) the package asyncpg is needed.",
            hint="pip install 'stoa-mcp[postgres]'",
        ) from error
    return open_postgres


@asynccontextmanager
async def open_memory(
    types: TypeRegistry | None = None, clock: Clock | None = None, *, limits: Limits | None = None
) -> AsyncGenerator[EventLog]:
    """A log that is gone at the end of the block; of its subjects the keys are, too."""
    async with open_sqlite(None, clock=clock) as store, open_database(Opening(None, SUBJECTS_ID, (SUBJECTS,))) as kept:
        keys = SubjectKeys(kept, uuid.uuid4().bytes + uuid.uuid4().bytes, clock=clock)
        async with serve_log(store, types=types, keys=keys, clock=clock, limits=limits) as log:
            yield log


@asynccontextmanager
async def open_sqlite(
    path: Path | None, *, clock: Clock | None = None, busy_seconds: float = 5.0, max_bytes: int | None = None
) -> AsyncGenerator[SqliteStore]:
    """A log's store in a file, or in memory."""
    opening = Opening(path, APPLICATION_ID, _OF_LOG, busy_seconds, max_bytes)
    async with open_database(opening, clock=clock) as database:
        await database.write(
            Statement(
                "INSERT INTO log (id, epoch, position, recorded_us, streams) VALUES (1, $1, 0, 0, 0)"
                " ON CONFLICT DO NOTHING",
                [(uuid.uuid4().hex,)],
            )
        )
        yield SqliteStore(database, clock=clock)


@asynccontextmanager
async def serve_log(
    store: Store,
    *,
    types: TypeRegistry | None = None,
    keys: Keys | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> AsyncGenerator[EventLog]:
    """A log on a store, with its writer beside the block. At the end, what was taken is written."""
    # SQLite is written by threads, which the turns of the event loop do not help.
    limits = limits or (Limits(commits_at_once=2, answered_at_once=100_000) if isinstance(store, SqliteStore) else None)
    log = EventLog(store, types=types, keys=keys, clock=clock, limits=limits)
    async with beside() as tasks:
        tasks.start_soon(log.run)
        try:
            yield log
        finally:
            log.close()
