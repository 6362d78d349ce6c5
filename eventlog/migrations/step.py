"""A step, and how its statements are spelt for each database.

`{integer}`, `{bytes}`, `{text}` and `{roomy}` are the only words that differ. Text that is compared or sorted is
`{text}`: without its "C" collation PostgreSQL would sort names by the language of the machine, and not as SQLite and
Python do. After a table whose rows change again and again stands `{roomy}`: PostgreSQL leaves space in its pages then,
so that a changed row stays in its page and no index is touched.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Migration"]

_WORDS: Final = {
    "sqlite": {"integer": "INTEGER", "bytes": "BLOB", "text": "TEXT", "roomy": ""},
    "postgres": {"integer": "BIGINT", "bytes": "BYTEA", "text": 'TEXT COLLATE "C"', "roomy": "WITH (fillfactor = 50)"},
}


@dataclass(frozen=True, slots=True)
class Migration:
    """Steps are only ever added; one that was published never changes."""

    number: int
    name: str
    statements: tuple[str, ...]

    def spelt_for(self, dialect: Literal["sqlite", "postgres"]) -> Iterable[str]:
        return (statement.format(**_WORDS[dialect]) for statement in self.statements)
