"""The event log, as everybody uses it: append, read, follow. The rooms behind do the work.

What is promised: an append is all there or not at all, and durable when it returns; positions are in the order of
commits, without a gap; the same event ids are appended once. Made by `eventlog.open`.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final, cast, final

from eventlog.admit import admit, subjects_of
from eventlog.chain import START
from eventlog.database import Database
from eventlog.event import (
    ANY,
    EVERYTHING,
    Append,
    Appended,
    Checkpoint,
    Event,
    Filter,
    Head,
    NewEvent,
    StreamId,
    StreamInfo,
    microseconds,
    moment,
)
from eventlog.filters import LAST, check_filter
from eventlog.follow import follow
from eventlog.group_commit import GroupCommit, Limits
from eventlog.ids import Entropy
from eventlog.names import check_stream, check_tenant, is_beginning, shown
from eventlog.reading import Reading
from eventlog.scanning import Scanning
from eventlog.schemas import TypeRegistry
from eventlog.sealing import SubjectKey, SubjectKeys
from eventlog.store import Outcome, Request, Store
from stoa.clock import Clock, SystemClock
from stoa.errors import BadInput, NotFound, StoaError

__all__ = ["MAX_APPENDS", "MAX_PAGE", "EventLog"]

MAX_PAGE: Final = 10_000
"""Events in one answer."""
MAX_APPENDS: Final = 1_000
"""In one call."""

_LAST_VERSION: Final = 2**62
"""More than any stream can have."""
_INFO: Final = "t.name, s.name, s.version, s.first_version, s.last_position, s.created_us, s.updated_us, s.checksum"


@final
class EventLog:
    """`types` check what is appended and bring up what is read; `keys` seal data about subjects: without them, such
    events are refused."""

    def __init__(
        self,
        store: Store,
        *,
        types: TypeRegistry | None = None,
        keys: SubjectKeys | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.types = types or TypeRegistry()
        self.keys = keys
        self.store = store
        self._clock = clock or SystemClock()
        self._entropy = Entropy()
        self._commits = GroupCommit(store, limits=limits)
        self._reading = Reading(store.database, self.types, keys)
        self._scanning = Scanning(store.database, self._reading)

    def __repr__(self) -> str:
        return f"<EventLog {self.store!r}, {self._commits!r}>"

    @property
    def database(self) -> Database:
        """For rooms of the log that keep tables beside the events."""
        return self.store.database

    async def run(self) -> None:
        """Write what is appended, until `close`. Whoever makes a log runs this in a task beside it."""
        await self._commits.run()

    def close(self) -> None:
        """Take nothing more; what was taken is written, then `run` returns."""
        self._commits.close()

    # Appending.

    async def append(self, appends: Sequence[Append]) -> Sequence[Appended | StoaError]:
        """Append to several streams: each append whole or not at all, and each on its own.

        The answers are in the order of `appends`: where the events are now, or why they are not there (`WrongVersion`
        with the actual version, `IdTaken`, `Unavailable`). Raises `BadInput` for a malformed one before anything is
        written. Events whose ids are in the log already get the answer of the first time. A caller that is cancelled
        while it waits does not know: the events may be written all the same.
        """
        if not 0 < len(appends) <= MAX_APPENDS:
            raise BadInput(f"A call has {len(appends):,} appends.", hint=f"Give 1 to {MAX_APPENDS:,}.")
        subjects = subjects_of(appends)
        keys = await self._keys_for(subjects) if subjects else {}
        now_us = microseconds(self._clock.now())
        return await self._commits.append(
            [admit(each, types=self.types, now_us=now_us, entropy=self._entropy, keys=keys) for each in appends]
        )

    async def append_to(self, stream: StreamId, events: Sequence[NewEvent], *, expected: int | None = ANY) -> Appended:
        """As `append`, for one stream; what went wrong is raised."""
        (outcome,) = await self.append([Append(stream, events, expected)])
        if isinstance(outcome, StoaError):
            raise outcome
        return outcome

    async def append_admitted(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """As `append`, for events that were checked and written down before: those that come back from a file."""
        return await self._commits.append(requests)

    # Reading.

    async def read_stream(
        self,
        stream: StreamId,
        *,
        from_version: int = 1,
        to_version: int | None = None,
        backwards: bool = False,
        limit: int = 1000,
    ) -> Sequence[Event]:
        """Events of one stream in the order of their versions (both ends count), or `backwards`. Raises `NotFound`.

        A page of large events may have fewer than `limit`; an empty one is the end."""
        check_stream(stream)
        _check_limit(limit)
        last = _LAST_VERSION if to_version is None else to_version
        if not 0 <= from_version <= last <= _LAST_VERSION:
            raise BadInput(
                f"There are no versions from {shown(from_version)} to {shown(to_version)}.",
                hint="Give a first version of 1 or more and a last one that is not smaller.",
            )
        rows = await self._reading.rows(
            "e.stream = (SELECT s.pk FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE t.name = $1 AND s.name = $2)"
            " AND e.version >= $3 AND e.version <= $4",
            (*stream, from_version, last),
            by="version",
            backwards=backwards,
            limit=limit,
        )
        if not rows:
            await self.stream_info(stream)  # raises where there is none
        return await self._reading.events(rows)

    async def read_all(
        self,
        after: int = 0,
        *,
        filter: Filter = EVERYTHING,
        limit: int = 1000,
        backwards: bool = False,
        until: int | None = None,
    ) -> Sequence[Event]:
        """Matching events of the whole log after a position, oldest first; `backwards` newest first. `until` is the
        position to stop before: backwards, where to go on from. A page of large events may have fewer than `limit`; an
        empty one is the end."""
        check_filter(filter)
        _check_limit(limit)
        _check_position(after)
        if until is not None:
            _check_position(until)
        scan = self._scanning.backwards if backwards else self._scanning.forwards
        return (await scan(after, until, filter, limit)).events

    def follow(
        self, after: int, *, filter: Filter = EVERYTHING, batch: int = 1000
    ) -> AsyncGenerator[Sequence[Event], None]:
        """Matching events after a position, page by page: first those that are there, then each that comes, for ever.

        None is missed and none comes twice. `after` is where the reader is (`position` of the last event it has dealt
        with, 0 for the beginning). Close it (`contextlib.aclosing`) where the loop may be left early.
        """
        check_filter(filter)
        _check_limit(batch)
        _check_position(after)
        return follow(self._scanning, self.store, after, filter, batch)

    async def grown(self, position: int) -> None:
        """Return once the log may hold events after `position`. It may return early: read, and wait again."""
        await self.store.grown(position)

    # Telling.

    async def head(self) -> Head:
        """The end of the log. Before the first event, it is 0 and was recorded in 1970."""
        rows = await self.database.fetch("SELECT epoch, position, recorded_us FROM log WHERE id = 1")
        epoch, position, recorded_us = cast("tuple[str, int, int]", rows[0])
        return Head(epoch, position, moment(recorded_us))

    async def stream_info(self, stream: StreamId) -> StreamInfo:
        """Raises `NotFound` for a stream that was never appended to."""
        check_stream(stream)
        rows = await self.database.fetch(
            f"SELECT {_INFO} FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE t.name = $1 AND s.name = $2",  # noqa: S608 - columns of ours
            *stream,
        )
        if not rows:
            raise NotFound(
                f"There is no stream {stream.name!r}.", hint="A stream begins with the first event that is appended."
            )
        return _info(rows[0])

    async def list_streams(
        self, tenant: str, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> Sequence[StreamInfo]:
        """Streams of a tenant in the order of their names, those after `after`."""
        check_tenant(tenant)
        _check_limit(limit)
        if not is_beginning(prefix):
            return []
        rows = await self.database.fetch(
            f"SELECT {_INFO} FROM stream s JOIN tenant t ON t.pk = s.tenant WHERE t.name = $1 AND s.name > $2"  # noqa: S608 - as above
            " AND s.name >= $3 AND s.name < $4 ORDER BY s.name LIMIT $5",
            tenant,
            after,
            prefix,
            prefix + LAST,
            limit,
        )
        return [_info(row) for row in rows]

    async def position_at(self, moment: datetime) -> int:
        """The last position that was recorded at or before this time; 0 when there is none."""
        if moment.tzinfo is None:
            raise BadInput(f"The time {moment.isoformat()} has no zone.", hint="Give it with one, UTC for instance.")
        return await self._scanning.last_recorded(microseconds(moment))

    async def checkpoint(self, position: int) -> Checkpoint:
        """What a reader keeps to find out later whether this is still the log that it has read. Raises `NotFound`."""
        _check_position(position)
        rows = await self.database.fetch(
            "SELECT log.epoch, (SELECT checksum FROM event WHERE position = $1),"
            " (SELECT checksum FROM truncated WHERE position = $1) FROM log WHERE id = 1",
            position,
        )
        epoch, kept, truncated = cast("tuple[str, bytes | None, bytes | None]", rows[0])
        checksum = START if position == 0 else kept or truncated
        if checksum is None:
            raise NotFound(f"There is no event at position {position:,}.", hint="Give a position up to the log's head.")
        return Checkpoint(position, checksum, epoch)

    async def _keys_for(self, subjects: set[tuple[str, str]]) -> dict[tuple[str, str], SubjectKey]:
        if self.keys is None:
            raise BadInput(
                "This log keeps no keys of subjects.", hint="Append without a subject, or open the log with its keys."
            )
        return dict(await self.keys.for_sealing(subjects))


def _info(row: Sequence[object]) -> StreamInfo:
    tenant, name, version, first, last, created_us, updated_us, checksum = cast(
        "tuple[str, str, int, int, int, int, int, bytes]", row
    )
    return StreamInfo(StreamId(tenant, name), version, first, last, moment(created_us), moment(updated_us), checksum)


def _check_limit(limit: int) -> None:
    if not 0 < limit <= MAX_PAGE:
        raise BadInput(f"A page of {shown(limit)} events cannot be read.", hint=f"Give 1 to {MAX_PAGE:,}.")


def _check_position(position: int) -> None:
    if not 0 <= position < 2**63:
        raise BadInput(f"There is no position {shown(position)}.", hint="Give 0 for the beginning, or a larger number.")
