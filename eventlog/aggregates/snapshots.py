"""The table of snapshots: find one that can be used, keep a new one, delete.

A snapshot is only ever a shortcut: whatever is wrong with one, it is passed over and said, and the events are read.
Data about subjects never gets into one: erasing a subject would not reach it in a backup.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from eventlog.aggregates.packing import NotASnapshot, digest, pack, unpack
from eventlog.database import Database, Row, Statement
from eventlog.event import StreamId

__all__ = ["COLUMNS", "JOINED", "Found", "Kept", "Passed", "delete_snapshots", "find", "opened", "save"]

KEPT: Final = 3
"""The newest of each fold, besides the oldest that later ones can be checked from."""
LOOKED_AT: Final = KEPT + 1

COLUMNS: Final = (
    "t.name, s.name, s.pk, n.fold, n.version, n.position, n.checksum, n.state, n.state_bytes, n.digest, n.created_us,"
    " (SELECT e.checksum FROM event e WHERE e.stream = n.stream AND e.version = n.version),"
    " (SELECT u.checksum FROM truncated u WHERE u.stream = n.stream AND u.version = n.version)"
)
JOINED: Final = "snapshot n JOIN stream s ON s.pk = n.stream JOIN tenant t ON t.pk = s.tenant"

_Raw = tuple[str, str, int, str, int, int, bytes, bytes, int, bytes, int, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot that can be used; `state` is JSON."""

    stream: StreamId
    fold: str
    version: int
    position: int
    created_us: int
    state: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Passed:
    """One that cannot, and why."""

    stream: StreamId
    fold: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    kept: Kept | None
    passed: tuple[Passed, ...] = ()


async def find(
    database: Database, stream: StreamId, fold: str, *, version: int | None = None, position: int | None = None
) -> Found:
    """The newest one of this fold that can be used, at most of this version and position."""
    rows = await database.fetch(
        f"SELECT {COLUMNS} FROM {JOINED} WHERE t.name = $1 AND s.name = $2 AND n.fold = $3"  # noqa: S608 - columns of ours
        " AND n.version <= $4 AND n.position <= $5 ORDER BY n.version DESC LIMIT $6",
        stream.tenant,
        stream.name,
        fold,
        2**62 if version is None else version,
        2**62 if position is None else position,
        LOOKED_AT,
    )
    passed: list[Passed] = []
    for row in rows:
        found = opened(row)
        if isinstance(found, Kept):
            return Found(found, tuple(passed))
        passed.append(found)
    return Found(None, tuple(passed))


def opened(row: Row) -> Kept | Passed:
    """Of a row with `COLUMNS`."""
    tenant, name, pk, fold, version, position, checksum, packed, size, sealed, created_us, kept, truncated = cast(
        _Raw, tuple(row)
    )
    stream = StreamId(tenant, name)
    if checksum != (kept or truncated):
        return Passed(stream, fold, version, "it is of another history of the stream")
    try:
        state = unpack(packed, size)
    except NotASnapshot as error:
        return Passed(stream, fold, version, str(error))
    if digest(pk, fold, version, position, checksum, state) != sealed:
        return Passed(stream, fold, version, "it was changed or damaged")
    return Kept(stream, fold, version, position, created_us, state)


async def save(
    database: Database,
    kept: Kept,
    *,
    checksum: bytes,
    base_version: int,
    erased: int,
) -> None:
    """Keep it, and let older ones of the fold go. `base_version` is of the snapshot it was made from (0 for none),
    `erased` how many events after that one were erased already when they were read.

    Raises `Conflict` when events were erased meanwhile: what they said must not come back.
    """
    rows = await database.fetch(
        "SELECT s.pk FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE t.name = $1 AND s.name = $2", *kept.stream
    )
    pk = cast(int, rows[0][0])
    sealed = digest(pk, kept.fold, kept.version, kept.position, checksum, kept.state)
    await database.write(
        # Whoever erases takes this row too: one of the two comes second, and sees what the first has done.
        Statement("UPDATE stream SET version = version WHERE pk = $1", [(pk,)], must_change=1),
        Statement(
            "INSERT INTO snapshot (stream, fold, version, position, checksum, state, state_bytes, digest, created_us)"
            " SELECT pk, $1, $2, $3, $4, $5, $6, $7, $8 FROM stream WHERE pk = $9 AND (SELECT COUNT(*) FROM event e"
            " WHERE e.stream = $9 AND e.version > $10 AND e.version <= $2 AND e.data IS NULL) = $11"
            " AND ($10 = 0 OR EXISTS (SELECT 1 FROM snapshot b WHERE b.stream = $9 AND b.fold = $1"
            " AND b.version = $10)) ON CONFLICT (stream, fold, version) DO UPDATE SET position = excluded.position,"
            " checksum = excluded.checksum, state = excluded.state, state_bytes = excluded.state_bytes,"
            " digest = excluded.digest, created_us = excluded.created_us",
            [
                (
                    kept.fold,
                    kept.version,
                    kept.position,
                    checksum,
                    pack(kept.state),
                    len(kept.state),
                    sealed,
                    kept.created_us,
                    pk,
                    base_version,
                    erased,
                )
            ],
            must_change=1,
        ),
        # The oldest at or above the truncation stays: later ones can be checked only from there on.
        Statement(
            "DELETE FROM snapshot WHERE stream = $1 AND fold = $2 AND version < (SELECT MIN(version) FROM"
            " (SELECT version FROM snapshot WHERE stream = $1 AND fold = $2 ORDER BY version DESC LIMIT $3) newest)"
            " AND version <> (SELECT MIN(o.version) FROM snapshot o JOIN stream s ON s.pk = o.stream"
            " WHERE o.stream = $1 AND o.fold = $2 AND o.version >= s.first_version - 1)",
            [(pk, kept.fold, KEPT)],
        ),
    )


async def delete_snapshots(database: Database, streams: Sequence[int]) -> int:
    """All of these streams (`stream.pk`), of whatever fold; how many there were."""
    count = 0
    for pk in streams:
        rows = await database.fetch("SELECT COUNT(*) FROM snapshot WHERE stream = $1", pk)
        count += cast(int, rows[0][0])
        await database.write(
            # See `save`: the two never pass each other.
            Statement("UPDATE stream SET version = version WHERE pk = $1", [(pk,)]),
            Statement("DELETE FROM snapshot WHERE stream = $1", [(pk,)]),
        )
    return count
