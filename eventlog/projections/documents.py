"""Reading the documents of projections, by whoever has the database: no projector need run in this process."""

from collections.abc import Sequence

import orjson

from eventlog.database import Database
from eventlog.projections.projection import MAX_KEY_CHARACTERS
from eventlog.projections.status import Found
from stoa.errors import BadInput

__all__ = ["MAX_PAGE", "Documents"]

MAX_PAGE = 1_000

_ONE = (
    "SELECT document, position FROM projection_document WHERE tenant = $2 AND key = $3"
    " AND generation = (SELECT pk FROM projection_generation WHERE name = $1 AND state = 'serving')"
)
_RANGE = (
    "SELECT key, document, position FROM projection_document WHERE tenant = $2 AND key >= $3 AND key < $4"
    " AND generation = (SELECT pk FROM projection_generation WHERE name = $1 AND state = 'serving')"
)
_PAGE = _RANGE + " ORDER BY key LIMIT $5"
_LAST = _RANGE + " ORDER BY key DESC LIMIT $5"


class Documents:
    """Documents of the generation that serves. A swap happens between two questions, never within one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str, tenant: str, key: str) -> Found | None:
        rows = await self._database.fetch(
            _ONE,
            name,
            tenant,
            key.encode(),
        )
        return Found(tenant, key, orjson.loads(_bytes(rows[0][0])), _int(rows[0][1])) if rows else None

    async def list(
        self, name: str, tenant: str, *, prefix: str = "", after: str = "", limit: int = 100, backwards: bool = False
    ) -> Sequence[Found]:
        """In the order of their keys (as UTF-8), after the key `after`; `backwards` from the last to the first."""
        if not 1 <= limit <= MAX_PAGE:
            raise BadInput(f"A page of {limit} documents was asked for.", hint=f"Ask for 1 to {MAX_PAGE}.")
        if len(prefix) > MAX_KEY_CHARACTERS or len(after) > MAX_KEY_CHARACTERS:
            raise BadInput("A key is too long.", hint=f"Keys have at most {MAX_KEY_CHARACTERS} characters.")
        # No UTF-8 begins with 0xFF: what follows the prefix is smaller.
        low, high = prefix.encode(), prefix.encode() + b"\xff"
        if after and backwards:
            high = min(high, after.encode())
        elif after:
            low = max(low, after.encode() + b"\x00")  # the key that comes next
        rows = await self._database.fetch(_LAST if backwards else _PAGE, name, tenant, low, high, limit)
        return [
            Found(tenant, _bytes(key).decode(), orjson.loads(_bytes(document)), _int(position))
            for key, document, position in rows
        ]


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
