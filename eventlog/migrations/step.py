"""A step, and how its statements are spelt for each database.

`{integer}`, `{bytes}` and `{text}` are the only words that differ. Text that is compared or sorted is `{text}`: without
its "C" collation PostgreSQL would sort names by the language of the machine, and not as SQLite and Python do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Migration"]

_WORDS: Final = {
    "sqlite": {"integer": "INTEGER", "bytes": "BLOB", "text": "TEXT"},
    "postgres": {"integer": "BIGINT", "bytes": "BYTEA", "text": 'TEXT COLLATE "C"'},
}


@dataclass(frozen=True, slots=True)
class Migration:
    """Steps are only ever added; one that was published never changes."""

    number: int
    name: str
    statements: tuple[str, ...]

    def spelt_for(self, dialect: Literal["sqlite", "postgres"]) -> Iterable[str]:
        return (statement.format(**_WORDS[dialect]) for statement in self.statements)
