"""The values of the log: what is appended, what is read back, and by what names and limits.

An event belongs to a stream of a tenant (`order-1001`: the aggregate's type, a hyphen, its id) and has two numbers:
its `version` in the stream, from 1 on without a gap, and its `position` in the whole log, from 1 on without a gap, in
the order of commits. Neither is ever given to another event.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, final

import orjson
from pydantic import JsonValue

from eventlog.ids import id_text
from stoa.errors import Fault, StoaError

__all__ = [
    "ANY",
    "EVERYTHING",
    "MAX_DATA_BYTES",
    "MAX_EVENTS",
    "MAX_METADATA_BYTES",
    "NO_STREAM",
    "Append",
    "Appended",
    "Checkpoint",
    "Event",
    "Filter",
    "Head",
    "Metadata",
    "NewEvent",
    "StreamId",
    "StreamInfo",
    "microseconds",
    "moment",
]

MAX_DATA_BYTES: Final = 2**20
"""Of the JSON of one event's data."""
MAX_METADATA_BYTES: Final = 16 * 2**10
MAX_EVENTS: Final = 1_000
"""In one append to one stream."""

ANY: Final = None
"""As expected version: whatever the stream's version is."""
NO_STREAM: Final = 0
"""As expected version: the stream must not exist yet."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class StreamId(NamedTuple):
    """A stream of a tenant; the name is `<aggregate type>-<aggregate id>`, for instance `document-01J8…`."""

    tenant: str
    name: str

    @property
    def aggregate_type(self) -> str:
        return self.name.partition("-")[0]

    @property
    def aggregate_id(self) -> str:
        return self.name.partition("-")[2]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where an event comes from. `correlation_id` is shared by all that one request or run has caused, `causation_id`
    is the id of the event or call that caused this one, `traceparent` as in W3C Trace Context."""

    correlation_id: str | None = None
    causation_id: str | None = None
    principal: str | None = None
    source: str | None = None
    traceparent: str | None = None
    tags: tuple[str, ...] = ()


class NewEvent(NamedTuple):
    """An event to be appended.

    `type` is `aggregate.verb_past` (`order.placed`). `event_id` is a UUID as text; the same id again is the same event,
    and is not appended twice. Without one, a fresh id that sorts by time is made (RFC 9562, version 7).
    `schema_version` defaults to the newest that is registered for the type. With a `subject` (the person whom the data
    is about) the data is kept encrypted under that subject's own key.
    """

    type: str
    data: Mapping[str, Any]
    metadata: Metadata = Metadata()
    event_id: str | None = None
    occurred_at: datetime | None = None
    schema_version: int | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """Events for one stream: all of them are appended, or none. `expected` is the version that the stream has to have
    (a number, `NO_STREAM` or `ANY`)."""

    stream: StreamId
    events: Sequence[NewEvent]
    expected: int | None = ANY


class Appended(NamedTuple):
    """Where the events of one append went: versions `first_version` to `version`; `position` is of the last one.
    `is_repeat` when they were there already. `ids` are the bytes of the UUIDs."""

    stream: StreamId
    first_version: int
    version: int
    position: int
    ids: tuple[bytes, ...]
    is_repeat: bool = False

    @property
    def event_ids(self) -> tuple[str, ...]:
        """As text, made when somebody asks."""
        return tuple([id_text(id) for id in self.ids])


@final
class Event:
    """An event as it lies in the log. `data` is as the newest schema version wants it, `schema_version` is the one it
    was written with. Of an erased event, data and metadata are empty. `is_personal` when the data is about a subject
    and lies encrypted: it must not be copied to where erasing does not reach."""

    __slots__ = (
        "_data",
        "_metadata",
        "_raw",
        "_upcast",
        "checksum",
        "event_id",
        "is_erased",
        "is_personal",
        "occurred_us",
        "position",
        "raw_metadata",
        "recorded_us",
        "schema_version",
        "stream",
        "type",
        "version",
    )

    def __init__(
        self,
        position: int,
        stream: StreamId,
        version: int,
        type: str,
        schema_version: int,
        event_id: str,
        raw: bytes | str | None,
        raw_metadata: bytes | str | None,
        occurred_us: int,
        recorded_us: int,
        checksum: bytes,
        upcast: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        *,
        is_personal: bool = False,
    ) -> None:
        self.position = position
        self.stream = stream
        self.version = version
        self.type = type
        self.schema_version = schema_version
        self.event_id = event_id
        self.occurred_us = occurred_us
        self.recorded_us = recorded_us
        self.checksum = checksum
        self.is_erased = raw is None
        self.is_personal = is_personal
        self.raw_metadata = raw_metadata
        self._raw = raw
        self._upcast = upcast
        self._data: dict[str, Any] | None = None
        self._metadata: Metadata | None = None

    def __repr__(self) -> str:
        gone = ", erased" if self.is_erased else ""
        return f"<Event {self.position} {self.type} of {self.stream.name!r}, version {self.version}{gone}>"

    @property
    def tenant(self) -> str:
        return self.stream.tenant

    @property
    def data(self) -> Mapping[str, Any]:
        """The payload, read when it is first asked for. Not to be changed by whoever reads it."""
        if self._data is None:
            data: dict[str, Any] = {} if self._raw is None else orjson.loads(self._raw)
            self._data = self._brought_up(data) if self._upcast is not None and self._raw is not None else data
        return self._data

    def _brought_up(self, data: dict[str, Any]) -> dict[str, Any]:
        """Raises `Fault` that names this event; all others can be read as before."""
        assert self._upcast is not None
        try:
            return self._upcast(data)
        except StoaError as error:
            where = f"event {self.position} (version {self.version} of {self.stream.name!r})"
            raise Fault(
                f"{where} cannot be read: {error.message}",
                hint=error.hint or "Mend the upcaster; the event itself is as it was written.",
            ) from error

    @property
    def stored_data(self) -> bytes | None:
        """The JSON of the data as it was written, before any upcasting; None when erased."""
        return self._raw.encode() if isinstance(self._raw, str) else self._raw

    @property
    def metadata(self) -> Metadata:
        if self._metadata is None:
            values: dict[str, Any] = orjson.loads(self.raw_metadata) if self.raw_metadata else {}
            tags = tuple(values.pop("tags", ()))
            self._metadata = Metadata(**values, tags=tags)
        return self._metadata

    @property
    def occurred_at(self) -> datetime:
        return moment(self.occurred_us)

    @property
    def recorded_at(self) -> datetime:
        """When the log took it. Never earlier than that of the event before, whatever the clock did."""
        return moment(self.recorded_us)

    def as_json(self) -> dict[str, JsonValue]:
        """The envelope with the names that leave the house: in exports, tools and the command line."""
        metadata: dict[str, JsonValue] = orjson.loads(self.raw_metadata) if self.raw_metadata else {}
        return {
            "event_id": self.event_id,
            "tenant": self.stream.tenant,
            "stream": self.stream.name,
            "aggregate_type": self.stream.aggregate_type,
            "aggregate_id": self.stream.aggregate_id,
            "version": self.version,
            "position": self.position,
            "event_type": self.type,
            "schema_version": self.schema_version,
            "data": dict(self.data),
            "metadata": metadata,
            "occurred_at": self.occurred_at.isoformat(),
            "recorded_at": self.recorded_at.isoformat(),
            "checksum": self.checksum.hex(),
            "is_erased": self.is_erased,
        }


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to read; all conditions hold together. `types` are whole names or beginnings (`order.*`); `since`
    and `until` are of `recorded_at` (from, and before)."""

    tenant: str | None = None
    types: tuple[str, ...] = ()
    stream_prefix: str | None = None
    correlation_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING: Final = Filter()


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log. `epoch` names this log and no other: a log that was made anew has a new one."""

    epoch: str
    position: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far somebody has read, and in which log: the checksum of the event at `position` (32 zero bytes at 0) and the
    log's epoch. A log that was restored from an older copy does not fit it (`eventlog.keeping.checkpoint`)."""

    position: int
    checksum: bytes = field(repr=False)
    epoch: str


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """`version` is of the newest event, `first_version` of the oldest that is still kept (greater than 1 after
    truncation; `version` + 1 when none is)."""

    stream: StreamId
    version: int
    first_version: int
    last_position: int
    created_at: datetime
    updated_at: datetime
    checksum: bytes = field(repr=False)


def microseconds(at: datetime) -> int:
    """Since 1970, as they lie in the database. Whole numbers all the way: a float would lose some."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
