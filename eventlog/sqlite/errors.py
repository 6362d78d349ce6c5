"""What errors of SQLite mean to whoever meets them. https://sqlite.org/rescode.html"""

import sqlite3
from typing import Final

from stoa.errors import BadInput, StoaError, Unavailable

__all__ = ["RETRY_SECONDS", "busy", "explain", "primary_code"]

RETRY_SECONDS: Final = 1.0


def busy(database: str, busy_seconds: float) -> Unavailable:
    return Unavailable(
        f"Others have been writing to the database {database} for more than {busy_seconds:g} seconds.",
        hint="Nothing was changed; send the same request again.",
        retry_after=RETRY_SECONDS,
    )


def explain(error: sqlite3.Error, database: str, busy_seconds: float) -> StoaError | None:
    """Our error for what SQLite says; None where the mistake is ours, and for rules of tables that were broken."""
    code = primary_code(error)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return busy(database, busy_seconds)
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"There is no room left for the database {database}; nothing was changed.",
            hint="Free space on that disk, then send the same request again.",
            retry_after=60,
        )
    if code == sqlite3.SQLITE_IOERR:
        return Unavailable(
            f"The disk refused to read or write the database {database} ({error}); nothing was changed.",
            hint="Free space on that disk, lift the limit on file sizes, or check the disk; then try again.",
            retry_after=60,
        )
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return BadInput(
            f"The database {database} cannot be read: {error}.",
            hint="Restore it from a backup, or move it away and start anew.",
        )
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return BadInput(
            f"The database {database} cannot be opened or written: {error}.",
            hint="Make the file and its folder readable and writable for you, or set STOA_HOME to another folder.",
        )
    return None


def primary_code(error: sqlite3.Error) -> int:
    """The low byte of an extended code; 0 where the error did not come from SQLite itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
