"""A step, and how its statements are spelt for each database.

`{integer}` and `{bytes}` are the only words that differ: BIGINT and BYTEA in PostgreSQL, INTEGER and BLOB in SQLite.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Migration"]

_WORDS: Final = {
    "sqlite": {"integer": "INTEGER", "bytes": "BLOB"},
    "postgres": {"integer": "BIGINT", "bytes": "BYTEA"},
}


@dataclass(frozen=True, slots=True)
class Migration:
    """Steps are only ever added; one that was published never changes."""

    number: int
    name: str
    statements: tuple[str, ...]

    def spelt_for(self, dialect: Literal["sqlite", "postgres"]) -> Iterable[str]:
        return (statement.format(**_WORDS[dialect]) for statement in self.statements)
