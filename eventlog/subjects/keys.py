"""Keys of subjects, in a table that is not part of the log: one key for each person of a tenant.

The row of an erased subject stays, without its key: an event that comes late is refused and does not bring the person
back under a new key.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, cast

from eventlog.database import Database, Statement
from eventlog.event import microseconds
from eventlog.keeping.wal import fold_wal
from eventlog.names import shown
from eventlog.subjects.sealing import Master, SubjectKey
from stoa.clock import Clock, SystemClock
from stoa.errors import Conflict

__all__ = ["SubjectKeys"]

_PAGE: Final = 500
"""Subjects in one query; databases bound the number of values."""


class SubjectKeys:
    """Makes, finds and destroys the keys of subjects. `master` is `stoa.home.secret_key(settings)`: keys lie wrapped in
    the table, and names as keyed digests.

    Nothing is remembered between calls: a key that another process has destroyed is gone here too, at once.
    """

    def __init__(self, database: Database, master: bytes, *, clock: Clock | None = None) -> None:
        self._database = database
        self._master = Master(master)
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"<SubjectKeys in {self._database!r}>"

    def subject_id(self, tenant: str, name: str) -> bytes:
        """How a subject is called in the log: 16 bytes that tell nothing. Raises `BadInput` for a name that is empty,
        too long or not printable."""
        return self._master.subject_id(tenant, name)

    async def for_sealing(self, wanted: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], SubjectKey]:
        """A key for each (tenant, subject); made where there is none yet. Raises `Conflict` for an erased subject."""
        ids = {each: self._master.subject_id(*each) for each in wanted}
        found = await self._wrapped(ids.values())
        missing = [subject for subject in set(ids.values()) if subject not in found]
        if missing:
            await self._check_master()
            at = microseconds(self._clock.now())
            rows = [(subject, self._master.new_key(subject), at) for subject in missing]
            await self._database.write(
                Statement(
                    "INSERT INTO subject_key (subject, wrapped, created_us) VALUES ($1, $2, $3)"
                    " ON CONFLICT (subject) DO NOTHING",
                    rows,
                )
            )
            # Whoever was first has made the key: it is read back.
            found |= await self._wrapped(missing)
        keys: dict[tuple[str, str], SubjectKey] = {}
        for each, subject in ids.items():
            wrapped = found.get(subject)
            if wrapped is None:
                raise Conflict(
                    f"The subject {shown(each[1])} was erased; nothing about it is appended any more.",
                    hint="Give a person who comes back a new id.",
                )
            keys[each] = self._master.unwrap(subject, wrapped)
        return keys

    async def for_opening(self, subjects: Collection[bytes]) -> Mapping[bytes, SubjectKey]:
        """The keys that still exist, by the digest in the log: without its key, data is gone for good."""
        found = await self._wrapped(subjects)
        return {
            subject: self._master.unwrap(subject, wrapped) for subject, wrapped in found.items() if wrapped is not None
        }

    async def destroy(self, tenant: str, name: str) -> bool:
        """Delete the key of a subject; what was sealed under it can never be read again. Durable when this returns.
        False when there is none (any more)."""
        subject, now = self._master.subject_id(tenant, name), microseconds(self._clock.now())
        had = (await self._wrapped([subject])).get(subject) is not None
        await self._database.write(
            Statement(
                "INSERT INTO subject_key (subject, wrapped, created_us, erased_us) VALUES ($1, NULL, $2, $2)"
                " ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, erased_us = excluded.erased_us"
                " WHERE subject_key.wrapped IS NOT NULL",
                [(subject, now)],
            )
        )
        await fold_wal(self._database)
        return had

    async def _check_master(self) -> None:
        """Raises `Fault` where another installation's key has wrapped those that are there: a key of ours among them
        could not be opened by the others, and they would read no page with its events."""
        rows = await self._database.fetch("SELECT subject, wrapped FROM subject_key WHERE wrapped IS NOT NULL LIMIT 1")
        for subject, wrapped in cast(Sequence[tuple[bytes, bytes]], rows):
            self._master.unwrap(subject, wrapped)

    async def _wrapped(self, subjects: Collection[bytes]) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = {}
        for page in _pages(sorted(set(subjects))):
            marks = ", ".join(f"${number}" for number in range(1, len(page) + 1))
            rows = await self._database.fetch(
                f"SELECT subject, wrapped FROM subject_key WHERE subject IN ({marks})",  # noqa: S608 - marks only
                *page,
            )
            found |= cast(Sequence[tuple[bytes, bytes | None]], rows)
        return found


def _pages(values: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (values[at : at + _PAGE] for at in range(0, len(values), _PAGE))
