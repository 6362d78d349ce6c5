"""What SQLite still holds of rows that were overwritten: pages as they were, in its write-ahead log."""

from contextlib import suppress

from eventlog.database import Database
from stoa.errors import Unavailable

__all__ = ["fold_wal"]


async def fold_wal(database: Database) -> None:
    """Bring it back into the file, and empty it. Best effort: readers may be in the way, and the next time they are
    not. PostgreSQL forgets old rows in its own time (VACUUM)."""
    if database.dialect == "sqlite":
        with suppress(Unavailable):  # in memory there is none
            await database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
