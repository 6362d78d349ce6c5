"""The tables of projections as values, and the statements that change them.

A generation is one fold of the log from position 0 on. Whoever reads it and writes later says so by `cas`: its
revision has to be still the same, or the whole write is undone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from eventlog.database import Database, Row, Statement, Value
from eventlog.event import Checkpoint
from stoa.errors import Conflict

__all__ = [
    "NO_CHECKSUM",
    "Change",
    "DocumentKey",
    "Generation",
    "Parked",
    "Shelf",
    "born",
    "cas",
    "clear",
    "forget_parked",
    "keep_documents",
    "keep_parked",
    "load_parked",
    "load_shelf",
    "read_documents",
    "register",
    "renew",
    "set_paused",
]

NO_CHECKSUM: Final = bytes(32)
_MANY: Final = 400
"""Keys asked for in one SELECT."""
_KEPT_GENERATIONS: Final = 20
"""Of those that were removed, with the reasons why they had been built."""

DocumentKey = tuple[str, bytes]
"""Tenant and key (as UTF-8)."""
Change = tuple[bytes | None, int]
"""A document as it is now (None: removed), and the position of the event that made it so."""


@dataclass(frozen=True, slots=True)
class Generation:
    pk: int
    name: str
    version: int
    state: str
    reason: str
    stale: str | None
    revision: int
    position: int
    checksum: bytes
    epoch: str
    born_position: int
    applied: int
    failures: int
    is_reset: bool
    owner: str | None
    lease_us: int
    created_us: int
    updated_us: int

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.position, self.checksum, self.epoch)

    def is_free_for(self, owner: str, now_us: int) -> bool:
        return self.owner is None or self.owner == owner or self.lease_us < now_us


@dataclass(frozen=True, slots=True)
class Parked:
    """A stream that waits from its event `version` on, and why. Without `retry_us` it waits for a person."""

    generation: int
    tenant: str
    stream: str
    version: int
    position: int
    event_type: str
    attempts: int
    retry_us: int | None
    reason: str
    first_us: int
    last_us: int

    @property
    def id(self) -> str:
        return f"{self.generation}-{self.position}"

    @property
    def is_dead(self) -> bool:
        return self.retry_us is None


@dataclass(frozen=True, slots=True)
class Shelf:
    """All that there is of one projection."""

    kind: str
    is_paused: bool
    serving: Generation | None
    building: Generation | None
    retired: Sequence[Generation]

    @property
    def live(self) -> Sequence[Generation]:
        return [one for one in (self.serving, self.building) if one is not None]


_GENERATION: Final = (
    "g.pk, g.name, g.version, g.state, g.reason, g.stale, g.revision, g.position, g.checksum, g.epoch,"
    " g.born_position, g.applied, g.failures, g.is_reset, g.owner, g.lease_us, g.created_us, g.updated_us"
)
_SHELF: Final = (
    f"SELECT p.kind, p.is_paused, {_GENERATION}"  # noqa: S608 (constants only)
    " FROM projection p LEFT JOIN projection_generation g ON g.name = p.name AND g.state <> 'removed'"
    " WHERE p.name = $1"
)
_PARKED: Final = (
    "SELECT generation, tenant, stream, version, position, event_type, attempts, retry_us, reason, first_us, last_us"
    " FROM projection_parked WHERE generation = $1 ORDER BY position"
)


async def load_shelf(database: Database, name: str) -> Shelf | None:
    """None when no process ever worked on it."""
    rows = await database.fetch(_SHELF, name)
    if not rows:
        return None
    generations = [_generation(row[2:]) for row in rows if row[2] is not None]
    by_state = {one.state: one for one in generations}
    retired = sorted((one for one in generations if one.state == "retired"), key=lambda one: one.pk)
    return Shelf(_text(rows[0][0]), bool(rows[0][1]), by_state.get("serving"), by_state.get("building"), retired)


async def load_parked(database: Database, generation: int) -> Sequence[Parked]:
    """In the order of the failed events' positions."""
    return [_parked(row) for row in await database.fetch(_PARKED, generation)]


async def read_documents(
    database: Database, generation: int, wanted: Iterable[DocumentKey]
) -> Mapping[DocumentKey, bytes]:
    by_tenant: dict[str, list[bytes]] = {}
    for tenant, key in wanted:
        by_tenant.setdefault(tenant, []).append(key)
    found: dict[DocumentKey, bytes] = {}
    for tenant, keys in by_tenant.items():
        for start in range(0, len(keys), _MANY):
            some = keys[start : start + _MANY]
            marks = ", ".join(f"${number}" for number in range(3, 3 + len(some)))
            sql = (
                "SELECT key, document FROM projection_document WHERE generation = $1 AND tenant = $2"  # noqa: S608 (placeholders only)
                f" AND key IN ({marks})"
            )
            for key, document in await database.fetch(sql, generation, tenant, *some):
                found[tenant, _bytes(key)] = _bytes(document)
    return found


def register(name: str, kind: str, now_us: int) -> Statement:
    return Statement(
        "INSERT INTO projection (name, kind, is_paused, changed_us) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING",
        [(name, kind, now_us)],
    )


def set_paused(name: str, is_paused: bool, now_us: int) -> Statement:
    sql = "UPDATE projection SET is_paused = $1, changed_us = $2 WHERE name = $3"
    return Statement(sql, [(int(is_paused), now_us, name)], must_change=1)


def born(
    name: str, version: int, state: str, *, reason: str, epoch: str, head: int, is_reset: bool, now_us: int
) -> Statement:
    """A new generation at position 0. `Conflict` when there is one of this state, or another process is as fast."""
    return Statement(
        "INSERT INTO projection_generation (pk, name, version, state, reason, stale, revision, position, checksum,"
        " epoch, born_position, applied, failures, is_reset, owner, lease_us, created_us, updated_us)"
        " VALUES ((SELECT COALESCE(MAX(pk), 0) + 1 FROM projection_generation), $1, $2, $3, $4, NULL, 0, 0, $5, $6, $7,"
        " 0, 0, $8, NULL, 0, $9, $9) ON CONFLICT DO NOTHING",
        [(name, version, state, reason, NO_CHECKSUM, epoch, head, int(is_reset), now_us)],
        must_change=1,
    )


def cas(
    generation: Generation,
    *,
    now_us: int,
    checkpoint: Checkpoint | None = None,
    applied: int = 0,
    failures: int = 0,
    stale: str | None = None,
    state: str | None = None,
    is_reset: bool = False,
    lease: tuple[str | None, int] | None = None,
) -> Statement:
    """Go on from what was read; `Conflict` when somebody else did so first. `applied` and `failures` are added."""
    there = checkpoint or generation.checkpoint
    held = ", owner = $12, lease_us = $13" if lease else ""
    return Statement(
        "UPDATE projection_generation SET revision = revision + 1, position = $1, checksum = $2, epoch = $3,"  # noqa: S608
        " applied = applied + $4, failures = failures + $5, stale = COALESCE($6, stale), state = $7, is_reset = $8,"
        f" updated_us = $9{held} WHERE pk = $10 AND revision = $11",
        [
            (
                there.position,
                there.checksum,
                there.epoch,
                applied,
                failures,
                stale,
                state or generation.state,
                int(is_reset or generation.is_reset),
                now_us,
                generation.pk,
                generation.revision,
                *(lease or ()),
            )
        ],
        must_change=1,
    )


def renew(pks: Iterable[int], owner: str, lease_us: int | None) -> Statement:
    """The lease goes on for those that are still held, or (None) is given back."""
    sql = "UPDATE projection_generation SET owner = $1, lease_us = $2 WHERE pk = $3 AND owner = $4"
    rows = [(owner if lease_us is not None else None, lease_us or 0, pk, owner) for pk in pks]
    return Statement(sql, rows)


def keep_documents(generation: int, changes: Mapping[DocumentKey, Change]) -> Iterable[Statement]:
    kept = [
        (generation, tenant, key, document, position)
        for (tenant, key), (document, position) in changes.items()
        if document is not None
    ]
    gone = [(generation, tenant, key) for (tenant, key), (document, _) in changes.items() if document is None]
    if kept:
        yield Statement(
            "INSERT INTO projection_document (generation, tenant, key, document, position) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (generation, tenant, key)"
            " DO UPDATE SET document = excluded.document, position = excluded.position",
            kept,
        )
    if gone:
        sql = "DELETE FROM projection_document WHERE generation = $1 AND tenant = $2 AND key = $3"
        yield Statement(sql, gone)


def keep_parked(parked: Iterable[Parked]) -> Iterable[Statement]:
    rows: list[tuple[Value, ...]] = [
        (
            one.generation,
            one.tenant,
            one.stream,
            one.version,
            one.position,
            one.event_type,
            one.attempts,
            one.retry_us,
            one.reason,
            one.first_us,
            one.last_us,
        )
        for one in parked
    ]
    if rows:
        yield Statement(
            "INSERT INTO projection_parked (generation, tenant, stream, version, position, event_type, attempts,"
            " retry_us, reason, first_us, last_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
            " ON CONFLICT (generation, tenant, stream) DO UPDATE SET version = excluded.version,"
            " position = excluded.position, event_type = excluded.event_type, attempts = excluded.attempts,"
            " retry_us = excluded.retry_us, reason = excluded.reason, first_us = excluded.first_us,"
            " last_us = excluded.last_us",
            rows,
        )


def forget_parked(parked: Parked) -> Statement:
    sql = "DELETE FROM projection_parked WHERE generation = $1 AND tenant = $2 AND stream = $3"
    return Statement(sql, [(parked.generation, parked.tenant, parked.stream)], must_change=1)


async def clear(database: Database, generation: Generation, chunk: int, now_us: int) -> bool:
    """Take away so many documents of a retired generation; False once nothing is left of it but its reason."""
    some = await database.fetch("SELECT 1 FROM projection_document WHERE generation = $1 LIMIT 1", generation.pk)
    if some:
        sql = (
            "DELETE FROM projection_document WHERE generation = $1 AND (tenant, key) IN"
            " (SELECT tenant, key FROM projection_document WHERE generation = $1 LIMIT $2)"
        )
        await database.write(Statement(sql, [(generation.pk, chunk)]))
        return True
    kept = await database.fetch(
        "SELECT pk FROM projection_generation WHERE name = $1 AND state = 'removed' ORDER BY pk DESC LIMIT $2",
        generation.name,
        _KEPT_GENERATIONS,
    )
    oldest = kept[-1][0] if len(kept) == _KEPT_GENERATIONS else 0
    try:
        await database.write(
            Statement("DELETE FROM projection_parked WHERE generation = $1", [(generation.pk,)]),
            cas(generation, now_us=now_us, state="removed"),
            Statement(
                "DELETE FROM projection_generation WHERE name = $1 AND state = 'removed' AND pk < $2",
                [(generation.name, oldest)],
            ),
        )
    except Conflict:
        return True  # another process clears it too
    return False


def _generation(row: Row) -> Generation:
    pk, name, version, state, reason, stale, revision, position, checksum, epoch, *rest = row
    born_position, applied, failures, is_reset, owner, lease_us, created_us, updated_us = rest
    return Generation(
        _int(pk),
        _text(name),
        _int(version),
        _text(state),
        _text(reason),
        None if stale is None else _text(stale),
        _int(revision),
        _int(position),
        _bytes(checksum),
        _text(epoch),
        _int(born_position),
        _int(applied),
        _int(failures),
        bool(is_reset),
        None if owner is None else _text(owner),
        _int(lease_us),
        _int(created_us),
        _int(updated_us),
    )


def _parked(row: Row) -> Parked:
    generation, tenant, stream, version, position, event_type, attempts, retry_us, reason, first_us, last_us = row
    return Parked(
        _int(generation),
        _text(tenant),
        _text(stream),
        _int(version),
        _int(position),
        _text(event_type),
        _int(attempts),
        None if retry_us is None else _int(retry_us),
        _text(reason),
        _int(first_us),
        _int(last_us),
    )


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _text(value: Value) -> str:
    assert isinstance(value, str)
    return value


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value
