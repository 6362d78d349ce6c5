"""What the rooms of the log ask of a database: rows out, and statements in, together or not at all.

SQL here is what SQLite (3.37 or newer) and PostgreSQL both understand, with `$1`, `$2` … for values. Bytes come back
as bytes, text as str, numbers as int. Whoever reads first and writes later says in `must_change` what has to be still
true: so nobody keeps a transaction open across an await.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Database", "Row", "Statement", "Value"]

Value = str | int | float | bytes | None
Row = Sequence[Value]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, executed once for each of `rows`. When it changes another number of rows than `must_change`, all
    statements of the same write are undone and `Conflict` is raised."""

    sql: str
    rows: Sequence[Sequence[Value]] = ((),)
    must_change: int | None = None


class Database(Protocol):
    @property
    def dialect(self) -> Literal["sqlite", "postgres"]: ...

    async def fetch(self, sql: str, *values: Value) -> Sequence[Row]:
        """Rows of one SELECT, of one snapshot. Raises `Unavailable` when the database is away or too busy."""
        ...

    async def write(self, *statements: Statement) -> None:
        """All of them in one transaction, durable when this returns. Raises `Conflict` by `must_change`, `Unavailable`
        when nothing was written."""
        ...
