"""One SQLite file, used by many processes at once: opening it, transactions in threads, and what its errors mean.

Readers see a snapshot each; writers stand in one line in this process and take the file's write lock before they look
at anything, so what a writer read is still true when it writes. A transaction is done whole or not at all.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from eventlog.sqlite.errors import RETRY_SECONDS, busy, explain
from eventlog.sqlite.file import journal_ahead, pragma, refuse_foreign
from servers.content.migrations import APPLICATION_ID, MIGRATIONS
from stoa.errors import BadInput, StoaError, Unavailable
from stoa.home import FileId, database_file

__all__ = ["MAX_READERS", "Database", "Rows", "Value", "ask"]

MAX_READERS: Final = 4
PAGE_BYTES: Final = 4096

T = TypeVar("T")
Value = str | int | float | bytes | None
Rows = Callable[[str, dict[str, Value]], Sequence[tuple[Value, ...]]]
"""Asks the database in SQL: a statement with `:names`, and their values."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """`file` tells the file from any other of the same name: its device and its number there."""

    file: FileId
    reader: Engine
    writer: Engine


class _Moved(Exception):
    """The path does not name the open file any more."""


class Database:
    """Opened by the first who asks. `busy_seconds` is the longest wait of a writer, here and for other processes;
    `max_bytes` bounds the file."""

    def __init__(self, path: Path, *, busy_seconds: float = 5.0, max_bytes: int | None = None) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._max_pages = None if max_bytes is None else max_bytes // PAGE_BYTES
        self._opened: _Opened | None = None
        self._opening = anyio.Lock()
        self._writing = anyio.Lock()
        self._readers = anyio.CapacityLimiter(MAX_READERS)
        self._writers = anyio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<Database {str(self.path)!r} {'open' if self._opened else 'not opened yet'}>"

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a thread on one snapshot."""
        opened = await self._open()
        return await self._in_thread(opened, lambda: self._run(opened, opened.reader, work, None), self._readers)

    async def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a thread in one transaction, and commit. Raises `Unavailable` after waiting `busy_seconds`."""
        opened = await self._open()
        deadline = time.monotonic() + self._busy_seconds
        try:
            with anyio.fail_after(self._busy_seconds):
                await self._writing.acquire()
        except TimeoutError:
            raise busy(repr(str(self.path)), self._busy_seconds) from None
        try:
            return await self._in_thread(
                opened, lambda: self._run(opened, opened.writer, work, deadline), self._writers
            )
        finally:
            self._writing.release()

    async def close(self) -> None:
        if self._opened is not None:
            opened, self._opened = self._opened, None
            for engine in (opened.reader, opened.writer):
                await anyio.to_thread.run_sync(engine.dispose)

    async def _open(self) -> _Opened:
        async with self._opening:
            if self._opened is None:
                file = await anyio.to_thread.run_sync(self._prepare, limiter=self._writers)
                self._opened = _Opened(file, self._engine("DEFERRED", MAX_READERS), self._engine("IMMEDIATE", 1))
            return self._opened

    async def _in_thread(self, opened: _Opened, work: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
        try:
            return await anyio.to_thread.run_sync(work, limiter=limiter)
        except _Moved:
            if self._opened is opened:
                await self.close()  # so that the next who asks opens what is there then
            raise Unavailable(
                f"The database {str(self.path)!r} was removed or replaced while it was in use; nothing was changed.",
                hint="Put it back, or send the same request again to go on with the file that is there now"
                " (a new one where none is).",
                retry_after=RETRY_SECONDS,
            ) from None

    def _engine(self, mode: str, connections: int) -> Engine:
        engine = create_engine(f"sqlite:///{self.path}", pool_size=connections, max_overflow=0)

        def connect(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # the driver would begin too late, and not at all for reads
            self._tune(connection)

        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"BEGIN {mode}")

        event.listen(engine, "connect", connect)
        event.listen(engine, "begin", begin)
        return engine

    def _run(self, opened: _Opened, engine: Engine, work: Callable[[Session], T], deadline: float | None) -> T:
        try:
            with engine.connect() as connection:
                if deadline is not None:
                    raw = connection.connection.dbapi_connection
                    assert isinstance(raw, sqlite3.Connection)
                    raw.execute(f"PRAGMA busy_timeout = {max(0, round((deadline - time.monotonic()) * 1000))}")
                with Session(connection, expire_on_commit=False, autoflush=False) as session, session.begin():
                    done = work(session)
                    self._check_place(opened)
                    return done
        except DBAPIError as error:
            self._check_place(opened)
            explained = self._explain(error.orig)
            if explained is None:
                raise
            raise explained from error

    def _check_place(self, opened: _Opened) -> None:
        """SQLite goes on writing to a file that has no name any more, and all of it would be lost."""
        try:
            found = os.stat(self.path)
        except OSError:
            raise _Moved from None
        if (found.st_dev, found.st_ino) != opened.file:
            raise _Moved

    def _tune(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout = {round(self._busy_seconds * 1000)}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if self._max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")

    # Opening. Several processes may do this at the same moment.

    def _prepare(self) -> FileId:
        found = database_file(self.path)
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            self._tune(connection)
            refuse_foreign(connection, repr(str(self.path)), APPLICATION_ID)
            journal_ahead(connection, self._busy_seconds)
            self._migrate(connection)
        except sqlite3.Error as error:
            explained = self._explain(error)
            if explained is None:
                raise
            raise explained from error
        finally:
            connection.close()
        return found

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = pragma(connection, "user_version")
            if version > len(MIGRATIONS):
                raise BadInput(
                    f"The database {str(self.path)!r} has schema version {version};"
                    f" this Stoa knows versions up to {len(MIGRATIONS)}.",
                    hint="Install the newer Stoa again, or set STOA_HOME to another folder.",
                )
            for step in MIGRATIONS[version:]:
                for statement in step:
                    connection.execute(statement)
            if version < len(MIGRATIONS):
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    # Errors.

    def _explain(self, error: BaseException | None) -> StoaError | None:
        return explain(error, repr(str(self.path)), self._busy_seconds) if isinstance(error, sqlite3.Error) else None


def ask(session: Session) -> Rows:
    """Plain SQL on a session, for what has no table class: the full-text index."""

    def rows(statement: str, values: dict[str, Value]) -> Sequence[tuple[Value, ...]]:
        result = session.connection().execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []

    return rows
