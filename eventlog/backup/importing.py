"""Events from a file of JSON lines into a log; the whole file is checked before the first event is written."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar, cast

import anyio.to_thread

from eventlog.backup.reading import FileEvent, open_export, read_events
from eventlog.database import Database
from eventlog.event import MAX_EVENTS, StreamId
from eventlog.keeping.erase import Salted, erase_rows
from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog
from eventlog.store import Admitted, Request
from stoa.errors import Conflict, StoaError

__all__ = ["Imported", "import_events"]

BATCH_EVENTS: Final = 1_000
BATCH_BYTES: Final = 8 * 2**20
T = TypeVar("T", str, bytes)

VALUES: Final = 500
"""In one query."""


@dataclass(frozen=True, slots=True)
class Imported:
    """`events` were appended now; `already` were there from an import before."""

    events: int
    already: int
    streams: int


async def import_events(
    log: EventLog, file: Path, *, tenant: str | None = None, on_progress: OnProgress = silent
) -> Imported:
    """Append the events of a file. Ids, types, data, order in each stream and `occurred_at` stay; positions, versions
    (from 1 on, should the file begin later) and `recorded_at` are of this log. Erased events stay erased.

    Idempotent: events that are there already are not appended again, so an interrupted import is run again. Raises
    `BadInput`, naming the line and before anything is written, for a file that is damaged, unfinished, not of ours or
    (with `tenant`) holds another tenant's events; `Conflict`, naming line and stream, where a stream of this log has
    other events. `on_progress` gets bytes of the file: it is read twice, so the whole is twice its size.
    """
    stream = await anyio.to_thread.run_sync(open_export, file)
    with stream:
        total = 2 * os.fstat(stream.fileno()).st_size
        for is_checked, before in ((False, 0), (True, total // 2)):
            state = _State(log.database)
            events = read_events(stream, tenant)
            while batch := await anyio.to_thread.run_sync(_next_batch, events):
                missing = await state.plan(batch)
                if is_checked:
                    await _append(log, missing)
                    await _erase(log.database, [each for each in batch if each.is_erased])
                on_progress(before + batch[-1].offset, total)
    on_progress(total, total)
    return Imported(state.events, state.already, len(state.streams))


@dataclass(frozen=True, slots=True)
class _Missing:
    """An event that is to be appended, at this version of its stream."""

    event: FileEvent
    version: int


@dataclass(slots=True)
class _Stream:
    """`seen` events of the file; `there` events of the log before the import, or up to now."""

    there: int
    seen: int = 0


@dataclass(slots=True)
class _State:
    """One reading of the file. It remembers each stream of it, some hundred bytes a stream."""

    database: Database
    events: int = 0
    already: int = 0
    streams: dict[StreamId, _Stream] = field(default_factory=dict[StreamId, _Stream])

    async def plan(self, batch: Sequence[FileEvent]) -> Sequence[_Missing]:
        """Which events are not there yet. Raises `Conflict` for a stream that has others in their place."""
        found = await _places(self.database, [each.admitted.event_id for each in batch])
        unknown = {each.stream for each in batch} - self.streams.keys()
        versions = await _versions(self.database, sorted(unknown))
        for name in unknown:
            self.streams[name] = _Stream(versions.get(name, 0))
        missing: list[_Missing] = []
        for event in batch:
            stream = self.streams[event.stream]
            stream.seen += 1
            place = found.get(event.admitted.event_id)
            if place is not None:
                if place != (event.stream, stream.seen):
                    raise _others(event)
                self.already += 1
                continue
            if stream.seen <= stream.there:
                raise _others(event)
            found[event.admitted.event_id] = event.stream, stream.seen
            missing.append(_Missing(event, stream.seen))
            self.events += 1
        return missing


async def _append(log: EventLog, missing: Sequence[_Missing]) -> None:
    """In the order of the file. The versions are expected: whoever appends to these streams meanwhile is noticed."""
    runs: list[tuple[FileEvent, Request]] = []
    current: list[Admitted] = []
    for at, (event, version) in enumerate((each.event, each.version) for each in missing):
        if not current or event.stream != missing[at - 1].event.stream or len(current) == MAX_EVENTS:
            current = []
            runs.append((event, Request(event.stream, current, version - 1)))
        current.append(event.admitted)
    if not runs:
        return
    outcomes = await log.append_admitted([request for _, request in runs])
    for (event, _), outcome in zip(runs, outcomes, strict=True):
        if isinstance(outcome, Conflict):
            raise _others(event) from outcome
        if isinstance(outcome, StoaError):
            raise outcome


def _others(event: FileEvent) -> Conflict:
    return Conflict(
        f"Line {event.line}: the stream {event.stream.name!r} has other events in this log, or this one is elsewhere.",
        hint="Import into a log, or a tenant, that has none of these streams.",
    )


async def _places(database: Database, ids: Sequence[bytes]) -> dict[bytes, tuple[StreamId, int]]:
    found: dict[bytes, tuple[StreamId, int]] = {}
    for page, marks in _pages(ids):
        sql = " UNION ALL ".join(
            f"SELECT e.event_id, t.name, s.name, e.version FROM {table} e JOIN stream s ON s.pk = e.stream"  # noqa: S608 - marks only
            f" JOIN tenant t ON t.pk = s.tenant WHERE e.event_id IN ({marks})"
            for table in ("event", "truncated")
        )
        rows = cast(Sequence[tuple[bytes, str, str, int]], await database.fetch(sql, *page))
        found |= {id: (StreamId(tenant, name), version) for id, tenant, name, version in rows}
    return found


async def _versions(database: Database, streams: Sequence[StreamId]) -> dict[StreamId, int]:
    found: dict[StreamId, int] = {}
    for tenant in {stream.tenant for stream in streams}:
        for page, marks in _pages([stream.name for stream in streams if stream.tenant == tenant]):
            rows = await database.fetch(
                "SELECT s.name, s.version FROM stream s JOIN tenant t ON t.pk = s.tenant"  # noqa: S608 - marks only
                f" WHERE s.name IN ({marks}) AND t.name = ${len(page) + 1}",
                *page,
                tenant,
            )
            found |= {StreamId(tenant, name): version for name, version in cast(Sequence[tuple[str, int]], rows)}
    return found


async def _erase(database: Database, events: Sequence[FileEvent]) -> None:
    """Those that the file has as erased: appended now with nothing in them, or there and not erased yet."""
    for page, marks in _pages([event.admitted.event_id for event in events]):
        rows = await database.fetch(
            f"SELECT position, salt, data, metadata FROM event WHERE event_id IN ({marks}) AND digest IS NULL",  # noqa: S608 - marks only
            *page,
        )
        if rows:
            await erase_rows(database, [Salted(*row) for row in cast(Sequence[tuple[int, bytes, bytes, bytes]], rows)])


def _next_batch(events: Iterator[FileEvent]) -> Sequence[FileEvent]:
    batch: list[FileEvent] = []
    size = 0
    for event in islice(events, BATCH_EVENTS):
        batch.append(event)
        size += len(event.admitted.data) + len(event.admitted.metadata)
        if size > BATCH_BYTES:
            break
    return batch


def _pages(values: Sequence[T]) -> Iterator[tuple[Sequence[T], str]]:
    """Pieces that one query takes, each with its marks."""
    for at in range(0, len(values), VALUES):
        page = values[at : at + VALUES]
        yield page, ", ".join(f"${number}" for number in range(1, len(page) + 1))
