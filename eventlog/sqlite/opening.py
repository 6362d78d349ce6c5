"""Opening an SQLite file of ours, by many processes at once: is it a file, is it ours, WAL, the steps of its tables.

The steps that were taken are recorded in the table `migration`; they only ever go forward.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eventlog.migrations.step import Migration
from eventlog.sqlite.errors import explain
from eventlog.sqlite.file import journal_ahead, refuse_foreign
from stoa.errors import BadInput
from stoa.home import FileId, database_file

__all__ = ["PAGE_BYTES", "Opening", "connect", "migrate", "prepare"]

PAGE_BYTES: Final = 8_192
"""Rows of events are written in bulk and read in order: pages larger than SQLite's own 4 KiB save a little time."""
CHECKPOINT_PAGES: Final = 8_000
"""Of the write-ahead log, before it is brought back into the file: 64 MiB, which also is what it keeps on the disk."""
CACHE_KIB: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Opening:
    """`path` is None for a database in memory; `max_bytes` bounds the file, `busy_seconds` the wait for others."""

    path: Path | None
    application_id: int
    migrations: Sequence[Migration]
    busy_seconds: float = 5.0
    max_bytes: int | None = None

    def __str__(self) -> str:
        return "in memory" if self.path is None else repr(str(self.path))


def prepare(opening: Opening, now_us: int) -> FileId:
    """Make the file where it is missing (mode 0600), and bring its tables up to date. Raises `BadInput`."""
    assert opening.path is not None
    found = database_file(opening.path)
    try:
        connection = connect(opening)
        try:
            refuse_foreign(connection, str(opening), opening.application_id)
            journal_ahead(connection, opening.busy_seconds)
            migrate(connection, opening, now_us)
        finally:
            connection.close()
    except sqlite3.Error as error:
        explained = explain(error, str(opening), opening.busy_seconds)
        if explained is None:
            raise
        raise explained from error
    return found


def connect(opening: Opening) -> sqlite3.Connection:
    """A connection that is used by one thread at a time, though not always the same."""
    connection = sqlite3.connect(
        ":memory:" if opening.path is None else opening.path,
        isolation_level=None,  # the driver would begin too late, and not at all for reads
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute(f"PRAGMA busy_timeout = {round(opening.busy_seconds * 1000)}")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, and not only unlinked
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES}")
    if opening.max_bytes is not None:
        connection.execute(f"PRAGMA max_page_count = {opening.max_bytes // PAGE_BYTES}")
    return connection


def migrate(connection: sqlite3.Connection, opening: Opening, now_us: int) -> None:
    """Take the steps that are missing, in one transaction; whoever comes second finds them taken."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration"
            " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_us INTEGER NOT NULL)"
        )
        taken = {int(number) for (number,) in connection.execute("SELECT number FROM migration")}
        newest = max((step.number for step in opening.migrations), default=0)
        if max(taken, default=0) > newest:
            raise BadInput(
                f"The database {opening} has schema version {max(taken)}; this Stoa knows versions up to {newest}.",
                hint="Install the newer Stoa again, or set STOA_HOME to another folder.",
            )
        for step in sorted(opening.migrations, key=lambda step: step.number):
            if step.number in taken:
                continue
            for statement in step.spelt_for("sqlite"):
                connection.execute(statement)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (step.number, step.name, now_us))
        connection.execute(f"PRAGMA application_id = {opening.application_id}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
