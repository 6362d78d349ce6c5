"""The state of an aggregate: out of the newest snapshot that can be used, and the events after it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import orjson

from eventlog.aggregates import snapshots
from eventlog.aggregates.aggregate import Aggregate, fold, fresh, written
from eventlog.aggregates.policy import Policy, Since, is_due
from eventlog.aggregates.snapshots import Kept
from eventlog.event import Event, StreamId, microseconds, moment
from eventlog.log import EventLog
from stoa.errors import BadInput, Conflict, NotFound, StoaError

__all__ = ["MAX_EVENTS", "Loaded", "StateLost", "advance", "begin", "load", "snapshot", "snapshot_if_due"]

MAX_EVENTS: Final = 1_000_000
"""That are read for one state."""
MAX_FOLDED_BYTES: Final = 64 * 2**20
"""Of one state as JSON, while it is being computed. It is looked at whenever so much more was read: it cannot have
grown by more."""
PAGE: Final = 500
LARGE_BYTES: Final = 16 * 2**20
"""Half of what a page may have."""

_log = logging.getLogger(__name__)

S = TypeVar("S")


class StateLost(NotFound):
    """Events that the state depends on were truncated, and no snapshot stands for them."""


@dataclass(frozen=True)  # no slots: with them, `Loaded[…](…)` raises in Python 3.11
class Loaded(Generic[S]):
    """The state of an aggregate as of `version` of its stream (0: before the first event). `position` and
    `recorded_us` are of that event.

    The rest says how it was come by: `snapshot_version` is of the snapshot it began with (0 for none), then
    `events` were read, `erased` of them without their data. `has_personal` when data about a subject went into it.
    """

    stream: StreamId
    state: S = field(repr=False)  # of whom it tells is not for logs
    version: int = 0
    position: int = 0
    recorded_us: int = 0
    checksum: bytes = field(default=b"", repr=False)
    snapshot_version: int = 0
    snapshot_us: int = 0
    snapshot_bytes: int = 0
    events: int = 0
    event_bytes: int = 0
    erased: int = 0
    first_us: int = 0
    has_personal: bool = False
    passed: tuple[str, ...] = ()
    """Snapshots that could not be used, and why."""

    @property
    def recorded_at(self) -> datetime | None:
        return moment(self.recorded_us) if self.recorded_us else None

    def since_snapshot(self, now_us: int) -> Since:
        since_us = self.snapshot_us or self.first_us
        return Since(self.events, self.event_bytes, (now_us - since_us) / 1e6, self.snapshot_bytes)


async def load(
    log: EventLog,
    aggregate: Aggregate[S],
    stream: StreamId,
    *,
    version: int | None = None,
    position: int | None = None,
    with_snapshots: bool = True,
    max_events: int = MAX_EVENTS,
) -> Loaded[S]:
    """The state now, or as of a version of the stream and a position of the log (both are bounds; the events there
    count).

    Raises `NotFound` for an unknown stream, `StateLost` where its events were truncated and no snapshot stands for
    them, `BadInput` when more than `max_events` would have to be read, and `Fault` for an event that cannot be applied.
    """
    loaded = await begin(
        log, aggregate, stream, version=version, position=position, with_snapshots=with_snapshots
    )  # fmt: skip
    return await advance(log, aggregate, loaded, version=version, position=position, max_events=max_events)


async def begin(
    log: EventLog,
    aggregate: Aggregate[S],
    stream: StreamId,
    *,
    version: int | None = None,
    position: int | None = None,
    with_snapshots: bool = True,
) -> Loaded[S]:
    """Where to fold from: a snapshot, or the beginning."""
    if with_snapshots:
        found = await snapshots.find(log.database, stream, aggregate.fold_name, version=version, position=position)
        passed = tuple(f"version {each.version}: {each.reason}" for each in found.passed)
        for each in passed:
            _log.warning("A snapshot of %s of tenant %s cannot be used, %s", stream.name, stream.tenant, each)
        if (kept := found.kept) is not None:
            return Loaded(
                stream,
                orjson.loads(kept.state),
                kept.version,
                kept.position,
                snapshot_version=kept.version,
                snapshot_us=kept.created_us,
                snapshot_bytes=len(kept.state),
                passed=passed,
            )
        return Loaded(stream, fresh(aggregate), passed=passed)
    return Loaded(stream, fresh(aggregate))


async def advance(
    log: EventLog,
    aggregate: Aggregate[S],
    loaded: Loaded[S],
    *,
    version: int | None = None,
    position: int | None = None,
    max_events: int = MAX_EVENTS,
) -> Loaded[S]:
    """Fold what has come after `loaded`. Its state may be changed in place: it is not to be used afterwards."""
    stream, is_first, looked = loaded.stream, True, loaded.event_bytes
    while version is None or loaded.version < version:
        if loaded.events >= max_events:
            raise BadInput(
                f"The state of {stream.name!r} would need more than {max_events:,} events.",
                hint="Take a snapshot now and then, or ask for an earlier moment.",
            )
        page = await log.read_stream(stream, from_version=loaded.version + 1, to_version=version, limit=PAGE)
        if is_first:
            await _check_start(log, loaded, page)
            is_first = False
        known = [each for each in page if position is None or each.position <= position]
        loaded = _folded(aggregate, loaded, known)
        if loaded.event_bytes - looked > MAX_FOLDED_BYTES:
            looked = loaded.event_bytes
            _check_size(loaded)
        # A page of large events has fewer than were asked for, and is not the last.
        is_last = len(page) < PAGE and sum(len(each.stored_data or b"") for each in page) < LARGE_BYTES
        if not page or is_last or len(known) < len(page):
            break
    return loaded


def _check_size(loaded: Loaded[Any]) -> None:
    """Whoever may append must not be able to fill the memory of who asks what it adds up to."""
    try:
        size = len(orjson.dumps(loaded.state))
    except (orjson.JSONEncodeError, RecursionError):  # a state that is no JSON: of an aggregate that somebody wrote
        return
    if size > MAX_FOLDED_BYTES:
        raise BadInput(
            f"The state of {loaded.stream.name!r} has {size:,} bytes at version {loaded.version:,} already; at most"
            f" {MAX_FOLDED_BYTES:,} are computed.",
            hint="Ask for an earlier version, or read the events themselves.",
        )


async def _check_start(log: EventLog, loaded: Loaded[S], events: Sequence[Event]) -> None:
    """Without the events between the start and the page there is no state: they were truncated."""
    first = events[0].version if events else None
    if first is None:  # nothing after the start: all there is was folded, or is gone
        first = (await log.stream_info(loaded.stream)).first_version
        if first <= loaded.version + 1:
            return
    if first > loaded.version + 1:
        raise StateLost(
            f"The events of {loaded.stream.name!r} before version {first} were truncated, and no snapshot of this"
            " aggregate stands for them up to there.",
            hint=f"Ask for version {first - 1} or later; where no snapshot is left, restore one from a backup.",
        )


def _folded(aggregate: Aggregate[S], loaded: Loaded[S], events: Sequence[Event]) -> Loaded[S]:
    if not events:
        return loaded
    last = events[-1]
    return replace(
        loaded,
        state=fold(aggregate, loaded.state, events),
        version=last.version,
        position=last.position,
        recorded_us=last.recorded_us,
        checksum=last.checksum,
        events=loaded.events + len(events),
        event_bytes=loaded.event_bytes + sum(len(each.stored_data or b"") for each in events),
        erased=loaded.erased + sum(each.is_erased for each in events),
        first_us=loaded.first_us or events[0].recorded_us,
        has_personal=loaded.has_personal or any(each.is_personal for each in events),
    )


async def snapshot(log: EventLog, aggregate: Aggregate[S], loaded: Loaded[S], *, now_us: int) -> int:
    """Keep this state as a snapshot; answers its version (of the one it came from, when nothing has happened since).

    Raises `Conflict` when data about a subject went into the state (erasing could not reach it), or when events were
    erased meanwhile.
    """
    if not loaded.events:
        if not loaded.version:
            raise NotFound(f"The stream {loaded.stream.name!r} has no events.")
        return loaded.version
    if loaded.has_personal:
        raise Conflict(
            f"No snapshot of {loaded.stream.name!r} is kept: data about a subject is part of its state, and erasing"
            " the subject would not reach a copy.",
            hint="States of such streams are computed from their events.",
        )
    kept = Kept(
        loaded.stream,
        aggregate.fold_name,
        loaded.version,
        loaded.position,
        now_us,
        written(aggregate, loaded.state),
    )
    await snapshots.save(
        log.database, kept, checksum=loaded.checksum, base_version=loaded.snapshot_version, erased=loaded.erased
    )
    return kept.version


async def snapshot_if_due(
    log: EventLog, aggregate: Aggregate[S], loaded: Loaded[S], policy: Policy, *, now: datetime
) -> Loaded[S]:
    """By the policy, or because one that was kept is unusable and this one takes its place. Never fails: a snapshot is
    only a shortcut."""
    now_us = microseconds(now)
    is_worth_it = loaded.passed or is_due(policy, loaded.since_snapshot(now_us))
    if not loaded.events or loaded.has_personal or not is_worth_it:
        return loaded
    try:
        await snapshot(log, aggregate, loaded, now_us=now_us)
    except Conflict:
        return loaded  # somebody else took one, or erased something: the next load sees to it
    except StoaError as error:
        _log.warning("No snapshot of %s of tenant %s was kept: %s", loaded.stream.name, loaded.stream.tenant, error)
        return loaded
    return replace(
        loaded,
        snapshot_version=loaded.version,
        snapshot_us=now_us,
        events=0,
        event_bytes=0,
        erased=0,
        first_us=0,
        passed=(),
    )
