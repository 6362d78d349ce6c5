"""Which requests are appended, at which versions and positions, and the rows that come of it. No I/O: a store holds the
lock on the end of the log, tells what it found, and writes what comes out.

A batch is decided twice when it has to be: first in the hope that no event is there already, and again with the ids
that were looked up when an expected version is wrong or an index refused an id.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from eventlog.chain import START, envelope_tail
from eventlog.conflict import IdTaken, WrongVersion
from eventlog.event import Appended, StreamId
from eventlog.ids import id_text
from eventlog.store import Outcome, Request

__all__ = [
    "EVENT_COLUMNS",
    "End",
    "Known",
    "Placed",
    "Row",
    "StreamRow",
    "Written",
    "has_more_doubts",
    "place",
    "write_down",
]

EVENT_COLUMNS: Final = (
    "position",
    "stream",
    "version",
    "tenant",
    "type",
    "schema_version",
    "event_id",
    "occurred_us",
    "recorded_us",
    "correlation_id",
    "subject",
    "salt",
    "data",
    "metadata",
    "checksum",
)
"""In the order of the values of a `Row`. The digest is written when an event is erased."""

Row = tuple[int, int, int, int, int, int, bytes, int, int, str | None, bytes | None, bytes, bytes, bytes, bytes]

_NUMBERS: Final = struct.Struct(">qqqqq")


class End(NamedTuple):
    """The end of the log, as its one row tells it: the last position and when it was recorded, and how many streams."""

    position: int
    recorded_us: int
    streams: int


class StreamRow(NamedTuple):
    """A stream, in the order of the columns of its table."""

    pk: int
    tenant: int
    name: str
    version: int
    first_version: int
    last_position: int
    created_us: int
    updated_us: int
    checksum: bytes


class Known(NamedTuple):
    """Where an event is that was appended before. `stream` is None when no request of the batch names it."""

    stream: StreamId | None
    version: int
    position: int


class Accepted(NamedTuple):
    request: Request
    first_version: int


@dataclass(frozen=True, slots=True)
class Placed:
    """`outcomes` of all requests in order; `doubtful` are those with a wrong version that nobody has looked up yet."""

    outcomes: Sequence[Outcome]
    accepted: Sequence[Accepted]
    doubtful: Sequence[Request]


@dataclass(frozen=True, slots=True)
class Written:
    """What goes into the tables: rows of `event`, the new and the changed rows of `stream`, and the new end. `heads`
    are the same streams by name, for a store that remembers them."""

    events: Sequence[Row]
    created: Sequence[StreamRow]
    changed: Sequence[StreamRow]
    end: End
    heads: Mapping[StreamId, StreamRow]


def place(
    requests: Sequence[Request],
    *,
    position: int,
    streams: Mapping[StreamId, StreamRow],
    known: Mapping[bytes, Known] | None = None,
) -> Placed:
    """Give versions and positions, in the order of the requests. `streams` are those that exist.

    `known` are the looked-up ids (an empty mapping when none was found): with it, repeats are answered as the first
    time, also repeats of a request in the same batch.
    """
    reached: dict[StreamId, int] = {}
    found = dict(known) if known is not None else None
    outcomes: list[Outcome] = []
    accepted: list[Accepted] = []
    doubtful: list[Request] = []
    for request in requests:
        stream, events, expected = request.stream, request.events, request.expected
        version = reached.get(stream)
        if version is None:
            head = streams.get(stream)
            version = head.version if head is not None else 0
        if found is not None:
            repeat = _repeat(request, found)
            if repeat is not None:
                outcomes.append(repeat)
                continue
        if expected is not None and expected != version:
            outcomes.append(WrongVersion(stream, expected=expected, actual=version))
            if found is None:
                doubtful.append(request)
            continue
        accepted.append(Accepted(request, version + 1))
        if found is not None:
            for number, event in enumerate(events, 1):
                found[event.event_id] = Known(stream, version + number, position + number)
        ids = tuple([event.event_id for event in events])
        position += len(events)
        reached[stream] = last = version + len(events)
        outcomes.append(Appended(stream, version + 1, last, position, ids))
    return Placed(outcomes, accepted, doubtful)


def has_more_doubts(requests: Sequence[Request], outcomes: Sequence[Outcome], doubtful: Sequence[Request]) -> bool:
    """Whether a version is wrong only since another request of the batch turned out to be a repeat; `doubtful` are
    those whose ids were looked up."""
    looked_up = {id(request) for request in doubtful}
    return any(
        isinstance(outcome, WrongVersion) and id(request) not in looked_up
        for request, outcome in zip(requests, outcomes, strict=True)
    )


def _repeat(request: Request, found: Mapping[bytes, Known]) -> Outcome | None:
    """The first answer when all events are there, as they were sent; a conflict when only some are, or elsewhere."""
    places = [found.get(event.event_id) for event in request.events]
    if not any(places):
        return None
    first = places[0]
    for number, place in enumerate(places):
        if first is None or place is None or place.stream != request.stream or place.version != first.version + number:
            taken = next(event for event, at in zip(request.events, places, strict=True) if at is not None)
            return IdTaken(request.stream, id_text(taken.event_id))
    last = places[-1]
    assert first is not None
    assert last is not None
    ids = tuple([event.event_id for event in request.events])
    return Appended(request.stream, first.version, last.version, last.position, ids, is_repeat=True)


def write_down(
    accepted: Sequence[Accepted],
    *,
    end: End,
    now_us: int,
    streams: Mapping[StreamId, StreamRow],
    tenants: Mapping[str, int],
    types: Mapping[str, int],
) -> Written:
    """The rows of what was placed behind `end`. Time never goes back in the log, whatever the clock did."""
    position, before_us, count = end
    recorded_us = max(now_us, before_us)
    rows: list[Row] = []
    heads: dict[StreamId, StreamRow] = {}
    created: dict[StreamId, None] = {}
    pack, sha256 = _NUMBERS.pack, hashlib.sha256
    for request, version in accepted:
        stream = request.stream
        head = heads.get(stream) or streams.get(stream)
        if head is None:
            count += 1
            pk, tenant, checksum, first_version, created_us = count, tenants[stream.tenant], START, 1, recorded_us
            created[stream] = None
        else:
            pk, tenant, checksum = head.pk, head.tenant, head.checksum
            first_version, created_us = head.first_version, head.created_us
        tails: dict[str, bytes] = {}
        for (
            event_id,
            type,
            schema,
            data,
            metadata,
            salt,
            digest,
            occurred_us,
            correlation_id,
            subject,
        ) in request.events:
            position += 1
            tail = tails.get(type)
            if tail is None:
                tail = tails[type] = envelope_tail(stream.tenant, stream.name, type)
            # As `eventlog.chain.checksum`, without the price of a call with nine names for each event.
            numbers = pack(position, version, schema, occurred_us, recorded_us)
            checksum = sha256(checksum + digest + numbers + event_id + tail).digest()
            rows.append(
                (
                    position,
                    pk,
                    version,
                    tenant,
                    types[type],
                    schema,
                    event_id,
                    occurred_us,
                    recorded_us,
                    correlation_id,
                    subject,
                    salt,
                    data,
                    metadata,
                    checksum,
                )
            )
            version += 1
        heads[stream] = StreamRow(
            pk, tenant, stream.name, version - 1, first_version, position, created_us, recorded_us, checksum
        )
    return Written(
        rows,
        [heads[stream] for stream in created],
        [head for stream, head in heads.items() if stream not in created],
        End(position, recorded_us if rows else before_us, count),
        heads,
    )
