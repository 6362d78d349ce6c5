"""One SQLite database, used by many processes at once: rows out by a few readers, transactions in by one writer.

Everything runs in threads. Readers see a snapshot each; writers stand in one line in this process and take the file's
write lock before they look at anything, so what a writer read is still true when it writes.
"""

import os
import random
import re
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final, Literal, TypeVar

import anyio
import anyio.to_thread

from eventlog.database import Row, Statement, Value
from eventlog.event import microseconds
from eventlog.sqlite.errors import RETRY_SECONDS, busy, explain, primary_code
from eventlog.sqlite.opening import Opening, connect, migrate, prepare
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, Conflict, StoaError, Unavailable
from stoa.home import FileId

__all__ = ["MAX_READERS", "SqliteDatabase", "open_database"]

MAX_READERS: Final = 4
WRITERS: Final = 2

T = TypeVar("T")

_MARK: Final = re.compile(r"\$(\d+)")


class _Moved(Exception):
    """The path does not name the open file any more."""


class _Turn:
    """A place in the line of writers: `mine` is free once this one is writing, or has given up."""

    __slots__ = ("before", "has_begun", "mine")

    def __init__(self, before: threading.Lock) -> None:
        self.before = before
        self.mine = threading.Lock()
        self.mine.acquire()
        self.has_begun = False


class SqliteDatabase:
    """Made by `open_database`."""

    def __init__(self, opening: Opening, file: FileId | None, writer: sqlite3.Connection) -> None:
        self._opening = opening
        self._file = file
        self._writer = writer
        self._idle_readers: list[sqlite3.Connection] = []
        self._watcher: sqlite3.Connection | None = None
        # Two at once: the second waits in its thread for the first to end, and begins without a detour over the loop.
        self._writing = threading.Lock()
        self._turn = threading.Lock()  # of whoever came last; free once it is writing
        self._in_line = anyio.Semaphore(WRITERS)
        self._writers = anyio.CapacityLimiter(WRITERS)
        self._readers = anyio.CapacityLimiter(MAX_READERS)
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<SqliteDatabase {self._opening}{', closed' if self._is_closed else ''}>"

    @property
    def dialect(self) -> Literal["sqlite"]:
        return "sqlite"

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it."""
        return self._file is not None

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        """Rows of one SELECT, of one snapshot."""
        if self._file is None:
            return await self.transact(lambda connection: connection.execute(_spelt(sql), values).fetchall())
        return await anyio.to_thread.run_sync(self._read, _spelt(sql), values, limiter=self._readers)

    async def write(self, *statements: Statement) -> None:
        """All of them in one transaction. Raises `Conflict` by `must_change`, or when a rule of a table is broken."""

        def work(connection: sqlite3.Connection) -> None:
            for statement in statements:
                changed = connection.executemany(_spelt(statement.sql), statement.rows).rowcount
                if statement.must_change is not None and changed != statement.must_change:
                    raise Conflict(
                        f"{changed} rows were to be changed instead of {statement.must_change}; nothing was changed.",
                        hint="Somebody else was faster; read again and decide again.",
                    )

        try:
            await self.transact(work)
        except sqlite3.IntegrityError as error:
            raise Conflict(
                f"The database refused what was to be written: {error}. Nothing was changed.",
                hint="Somebody else was faster; read again and decide again.",
            ) from error

    async def transact(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        again: Callable[[sqlite3.Connection], T] | None = None,
        committed: Callable[[T], None] | None = None,
    ) -> T:
        """Run `work` in a thread in one transaction, and commit; then `committed`, in the same thread. All of a process
        are done in the order in which they come. Where a rule of a table is broken, `again` is run instead, before the
        next one's turn. Raises `Unavailable` after waiting for others too long, and `sqlite3.IntegrityError` as it is.
        """
        deadline = time.monotonic() + self._opening.busy_seconds
        try:
            with anyio.fail_after(self._opening.busy_seconds):
                await self._in_line.acquire()
        except TimeoutError:
            raise self._busy() from None
        turn = _Turn(self._turn)
        self._turn = turn.mine
        try:
            return await anyio.to_thread.run_sync(
                self._transact, turn, (work, again), committed, deadline, limiter=self._writers
            )
        finally:
            if not turn.has_begun:  # cancelled before it had a thread: who comes next waits for the one before
                if self._turn is turn.mine:
                    self._turn = turn.before
                turn.mine.release()
            self._in_line.release()

    def data_version(self) -> int:
        """A number that changes whenever another connection has written. It is read from shared memory, in some ten
        microseconds: less than a thread would cost that it might be done in. Not for a database in memory."""
        self._check_open()
        try:
            self._check_place()  # else whoever waits here would wait for ever
            if self._watcher is None:
                self._watcher = connect(self._opening)
                self._watcher.execute("PRAGMA busy_timeout = 0")
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])
        except _Moved:
            raise self._moved() from None
        except sqlite3.Error as error:
            if primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                return -random.getrandbits(32)  # nobody knows: it may have changed
            raise self._explained(error) from error

    async def close(self) -> None:
        """Wait for what runs, and close the connections; the last one of all processes folds the WAL into the file."""
        if self._is_closed:
            return
        self._is_closed = True
        with anyio.CancelScope(shield=True):
            for _ in range(WRITERS):
                await self._in_line.acquire()
            await anyio.to_thread.run_sync(self._close)
            for _ in range(WRITERS):
                self._in_line.release()

    # In threads.

    def _read(self, sql: str, values: Sequence[Value]) -> Sequence[Row]:
        self._check_open()
        try:
            self._check_place()
            connection = self._idle_readers.pop() if self._idle_readers else connect(self._opening)
            try:
                return connection.execute(sql, values).fetchall()
            finally:
                if self._is_closed:
                    connection.close()
                else:
                    self._idle_readers.append(connection)
        except _Moved:
            raise self._moved() from None
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _transact(
        self,
        turn: "_Turn",
        works: tuple[Callable[[sqlite3.Connection], T], Callable[[sqlite3.Connection], T] | None],
        committed: Callable[[T], None] | None,
        deadline: float,
    ) -> T:
        turn.has_begun = True
        try:
            is_ours = turn.before.acquire(timeout=max(0.0, deadline - time.monotonic())) and self._writing.acquire(
                timeout=max(0.0, deadline - time.monotonic())
            )
        finally:
            turn.mine.release()
        if not is_ours:
            raise self._busy()
        work, again = works
        try:
            try:
                done = self._commit(work, deadline)
            except sqlite3.IntegrityError:
                if again is None:
                    raise
                done = self._commit(again, deadline)
            if committed is not None:
                committed(done)
            return done
        finally:
            self._writing.release()

    def _commit(self, work: Callable[[sqlite3.Connection], T], deadline: float) -> T:
        self._check_open()
        connection = self._writer
        try:
            self._begin(connection, deadline)
            try:
                done = work(connection)
                self._check_place()
                connection.execute("COMMIT")
                return done
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except _Moved:
            raise self._moved() from None
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _begin(self, connection: sqlite3.Connection, deadline: float) -> None:
        """Take the write lock. SQLite's own waiting sleeps longer and longer, and a process that writes all the time
        would hardly let others in; ours asks often."""
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() > deadline:
                    raise self._busy() from error
                time.sleep(random.uniform(0.0002, 0.003))  # noqa: S311 - no secret
            else:
                return

    def _check_place(self) -> None:
        """SQLite goes on writing to a file that has no name any more, and all of it would be lost."""
        if self._file is None:
            return
        assert self._opening.path is not None
        try:
            found = os.stat(self._opening.path)
        except OSError:
            raise _Moved from None
        if (found.st_dev, found.st_ino) != self._file:
            raise _Moved

    def _close(self) -> None:
        for connection in (*self._idle_readers, self._watcher, self._writer):
            if connection is not None:
                connection.close()
        self._idle_readers.clear()

    # Errors.

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable(f"The database {self._opening} is closed.", hint="Send the request to a running process.")

    def _busy(self) -> Unavailable:
        return busy(str(self._opening), self._opening.busy_seconds)

    def _moved(self) -> Unavailable:
        return Unavailable(
            f"The database {self._opening} was removed or replaced while it was in use; nothing was changed.",
            hint="Put it back, or restart to go on with the file that is there now (a new one where none is).",
            retry_after=RETRY_SECONDS,
        )

    def _explained(self, error: sqlite3.Error) -> StoaError | sqlite3.Error:
        return explain(error, str(self._opening), self._opening.busy_seconds) or error


@asynccontextmanager
async def open_database(opening: Opening, *, clock: Clock | None = None) -> AsyncGenerator[SqliteDatabase]:
    """The database with its tables up to date; closed at the end of the block. Raises `BadInput`."""
    now_us = microseconds((clock or SystemClock()).now())
    database = await anyio.to_thread.run_sync(_open, opening, now_us)
    try:
        yield database
    finally:
        await database.close()


def _open(opening: Opening, now_us: int) -> SqliteDatabase:
    if sqlite3.sqlite_version_info < (3, 37):
        raise BadInput(
            f"SQLite {sqlite3.sqlite_version} is too old for the event log.",
            hint="Use a Python that comes with SQLite 3.37 or newer.",
        )
    if opening.path is None:
        connection = connect(opening)
        migrate(connection, opening, now_us)
        return SqliteDatabase(opening, None, connection)
    file = prepare(opening, now_us)
    writer = connect(opening)
    writer.execute("PRAGMA busy_timeout = 0")  # `_begin` waits
    return SqliteDatabase(opening, file, writer)


@lru_cache(1024)
def _spelt(sql: str) -> str:
    """With numbered marks as SQLite has them."""
    return _MARK.sub(r"?\1", sql)
