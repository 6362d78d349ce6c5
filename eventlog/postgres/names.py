"""The numbers that stand for tenants and types in the rows of events, remembered by each process."""

from collections.abc import Collection, Mapping
from typing import Final, final

from eventlog.postgres.wire import Session

__all__ = ["NumberedNames"]

MAX_REMEMBERED: Final = 100_000


@final
class NumberedNames:
    """Of one table. What a transaction has added is remembered once that is committed, and not before: `keep`."""

    def __init__(self, table: str) -> None:
        self._find = f"SELECT name, pk FROM {table} WHERE name = ANY ($1::text[])"  # noqa: S608 - a table of ours
        self._add = (
            f"INSERT INTO {table} (pk, name) SELECT last.pk + new.number, new.name"  # noqa: S608 - as above
            f" FROM (SELECT coalesce(max(pk), 0) AS pk FROM {table}) AS last,"
            " unnest($1::text[]) WITH ORDINALITY AS new (name, number) RETURNING name, pk"
        )
        self._kept: dict[str, int] = {}
        self._new: dict[str, int] = {}

    async def find(self, session: Session, names: Collection[str]) -> Mapping[str, int]:
        """Of those among `names` that have one."""
        missing = [name for name in names if name not in self._kept]
        if missing:
            if len(self._kept) > MAX_REMEMBERED:
                self._kept.clear()
                missing = list(names)
            self._kept.update([(str(name), int(str(pk))) for name, pk in await session.fetch(self._find, missing)])
        return self._kept

    async def number(self, session: Session, names: Collection[str]) -> Mapping[str, int]:
        """Of all `names`, which get one where they have none. Only with the end of the log locked."""
        self._new = {}
        known = await self.find(session, names)
        missing = [name for name in names if name not in known]
        if not missing:
            return known
        self._new = {str(name): int(str(pk)) for name, pk in await session.fetch(self._add, missing)}
        return {**known, **self._new}

    def keep(self) -> None:
        self._kept.update(self._new)
        self._new = {}
