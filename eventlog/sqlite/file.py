"""What every SQLite file of ours goes through when it is opened, whoever keeps tables in it."""

import sqlite3
import time

from eventlog.sqlite.errors import primary_code
from stoa.errors import BadInput

__all__ = ["journal_ahead", "pragma", "refuse_foreign"]


def refuse_foreign(connection: sqlite3.Connection, file: str, application_id: int) -> None:
    """Raise `BadInput` for a database that somebody else has made."""
    if pragma(connection, "application_id") == application_id:
        return
    if (
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        and not pragma(connection, "application_id") == application_id
    ):  # asked again: another process may just have made the tables
        raise BadInput(
            f"The file {file} is a database of another program.",
            hint="Move it away, or set STOA_HOME to another folder; then start again.",
        )


def journal_ahead(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Set WAL. SQLite does not wait for others here, so we do."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
