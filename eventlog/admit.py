"""From what a caller wants to append to what will lie in the database: checked, written as JSON, sealed and digested.

All of it happens before anything waits or is written, so that bad input refuses a call as a whole. The order of the
checks keeps them cheap: what can be wrong with JSON is looked for only where the output shows a sign of it.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from eventlog.chain import SALT_BYTES, digest
from eventlog.event import (
    MAX_DATA_BYTES,
    MAX_EVENTS,
    MAX_METADATA_BYTES,
    Append,
    Metadata,
    microseconds,
    moment,
)
from eventlog.ids import ENTROPY_BYTES, id_bytes, new_ids
from eventlog.names import check_stream, check_type, shown
from eventlog.schemas import TypeRegistry, json_path
from eventlog.sealing import SubjectKey
from eventlog.store import Admitted, Request
from stoa.errors import BadInput

__all__ = ["MAX_APPEND_BYTES", "MAX_DEPTH", "admit", "subjects_of"]

MAX_DEPTH: Final = 100
"""Of objects and arrays in each other."""
MAX_APPEND_BYTES: Final = 16 * 2**20
"""Of data and metadata in one append to one stream."""
MAX_WORD: Final = 200
"""Characters of each id and name in the metadata."""
MAX_TAGS: Final = 20

_JSON: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_PLAIN: Final = Metadata()


def admit(
    append: Append,
    *,
    types: TypeRegistry,
    now_us: int,
    entropy: Callable[[int], bytes],
    keys: Mapping[tuple[str, str], SubjectKey],
) -> Request:
    """Check and write down one append. `entropy` gives random bytes, `keys` those of the subjects that are named.

    Raises `BadInput` that says which event it is, and where in it the fault lies.
    """
    stream, events, expected = check_stream(append.stream), append.events, append.expected
    count = len(events)
    if not 0 < count <= MAX_EVENTS:
        raise BadInput(
            f"An append to {stream.name!r} has {count:,} events.",
            hint=f"Give 1 to {MAX_EVENTS:,}; more go in several appends.",
        )
    if expected is not None and (type(expected) is not int or not 0 <= expected < 2**63):
        raise BadInput(
            f"The expected version {shown(expected)} of {stream.name!r} cannot be used.",
            hint="Give the stream's version (a whole number, 0 for a stream that does not exist yet), or none.",
        )
    noise = entropy((ENTROPY_BYTES + SALT_BYTES) * count)
    ids = new_ids(count, now_us // 1000, noise)
    salted = ENTROPY_BYTES * count
    has_given_ids = False
    size = 0
    metadata, written = _PLAIN, b"{}"
    admitted: list[Admitted] = []
    for number, event in enumerate(events):
        try:
            name = check_type(event.type)
            data = _data(event.data)
            schema_version = types.check(name, event.schema_version, event.data)
            if event.metadata is not metadata:
                metadata, written = event.metadata, _metadata(event.metadata)
            event_id = ids[number]
            if event.event_id is not None:
                event_id, has_given_ids = id_bytes(event.event_id), True
            occurred_us = now_us if event.occurred_at is None else _microseconds(event.occurred_at)
            subject = None
            if event.subject is not None:
                key = keys[stream.tenant, event.subject]
                subject, data = key.subject, key.seal(data, event_id)
        except BadInput as error:
            raise _which(error, append, number) from error
        salt = noise[salted : salted + SALT_BYTES]
        salted += SALT_BYTES
        size += len(data) + len(written)
        admitted.append(
            Admitted(
                event_id,
                name,
                schema_version,
                data,
                written,
                salt,
                digest(salt, data, written),
                occurred_us,
                metadata.correlation_id,
                subject,
            )
        )
    if size > MAX_APPEND_BYTES:
        raise BadInput(
            f"An append to {stream.name!r} has {size:,} bytes.",
            hint=f"Give at most {MAX_APPEND_BYTES:,}; more goes in several appends.",
        )
    if has_given_ids and len({event.event_id for event in admitted}) < count:
        raise BadInput(f"An append to {stream.name!r} names one event id twice.", hint="Give each event its own id.")
    return Request(stream, admitted, expected)


def subjects_of(appends: Sequence[Append]) -> set[tuple[str, str]]:
    """Whose keys are needed: pairs of tenant and subject."""
    wanted: set[tuple[str, str]] = set()
    for append in appends:
        for event in append.events:
            if event.subject is not None:
                wanted.add((append.stream.tenant, _word("subject", event.subject)))
    return wanted


def _which(error: BadInput, append: Append, number: int) -> BadInput:
    of = f"event {number + 1} of {len(append.events)} for " if len(append.events) > 1 else "the event for "
    message = error.message[:1].lower() + error.message[1:] if error.message.startswith("The ") else error.message
    return BadInput(f"In {of}{append.stream.name!r}: {message}", hint=error.hint)


def _data(data: Mapping[str, object]) -> bytes:
    if not isinstance(data, dict):
        if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - from outside comes anything
            raise BadInput(f"The data is {shown(data)} and no JSON object.", hint="Give names with values.")
        data = dict(data)
    written = _json(data)
    if len(written) > MAX_DATA_BYTES:
        raise BadInput(
            f"The data has {len(written):,} bytes as JSON.",
            hint=f"Give at most {MAX_DATA_BYTES:,}; keep larger things elsewhere and their address in the event.",
        )
    # NaN and the infinities are written as null. Each level opens and closes with a bracket; those within text are
    # counted too, hence the second look.
    if b"null" in written or (len(written) > 2 * MAX_DEPTH and written.count(b"{") + written.count(b"[") > MAX_DEPTH):
        _refuse(data)
    return written


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value, option=_JSON)
    except (orjson.JSONEncodeError, RecursionError) as error:
        _refuse(value)
        raise BadInput(
            f"The data cannot be written as JSON: {error}.",
            hint="Give objects with text as keys, lists, text, numbers, true, false and null.",
        ) from error


def _refuse(value: object) -> None:
    """Raise `BadInput` with the path of the first fault; return when there is none."""
    waiting: list[tuple[object, tuple[str | int, ...]]] = [(value, ())]
    while waiting:
        found, path = waiting.pop()
        why = _fault(found)
        if why is None and len(path) >= MAX_DEPTH and isinstance(found, dict | list | tuple):
            why = f"lies more than {MAX_DEPTH} levels deep"
        if why is not None:
            raise BadInput(
                f"The data at {json_path(path)} {why}.",
                hint="Give objects with text as keys, lists, text, whole numbers of at most 64 bits, finite numbers,"
                f" true, false and null, at most {MAX_DEPTH} levels deep.",
            )
        if isinstance(found, dict):
            items: dict[Any, object] = found  # pyright: ignore[reportUnknownVariableType] - keys are looked at here
            for key, item in items.items():
                if not isinstance(key, str):
                    raise BadInput(
                        f"The data at {json_path(path)} has the key {shown(key)}, which is no text.",
                        hint="Give text as keys.",
                    )
                why = _fault(key)
                if why is not None:
                    raise BadInput(f"A key of the data at {json_path(path)} {why}.", hint="Give text that is Unicode.")
                waiting.append((item, (*path, key)))
        elif isinstance(found, list | tuple):
            waiting.extend((item, (*path, index)) for index, item in enumerate(found))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - anything


def _fault(value: object) -> str | None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is text with half a character (a lone surrogate)"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"is {value}, which JSON does not have"
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            return "is a whole number of more than 64 bits"
    elif value is not None and not isinstance(value, dict | list | tuple):
        return f"is a {value.__class__.__name__}, which JSON does not have"
    return None


def _metadata(metadata: Metadata) -> bytes:
    """The JSON of what is set; the same metadata is always written the same."""
    values: dict[str, Any] = {}
    if metadata.correlation_id is not None:
        values["correlation_id"] = _word("correlation_id", metadata.correlation_id)
    if metadata.causation_id is not None:
        values["causation_id"] = _word("causation_id", metadata.causation_id)
    if metadata.principal is not None:
        values["principal"] = _word("principal", metadata.principal)
    if metadata.source is not None:
        values["source"] = _word("source", metadata.source)
    if metadata.traceparent is not None:
        values["traceparent"] = _word("traceparent", metadata.traceparent)
        if not _TRACEPARENT.fullmatch(metadata.traceparent):
            raise BadInput(
                f"The traceparent {shown(metadata.traceparent)} is not as W3C Trace Context writes it.",
                hint="Give version, trace id, parent id and flags: 00-<32 hex digits>-<16>-<2>.",
            )
    if metadata.tags:
        if len(metadata.tags) > MAX_TAGS:
            raise BadInput(f"The metadata has {len(metadata.tags)} tags.", hint=f"Give at most {MAX_TAGS}.")
        values["tags"] = [_word("tag", tag) for tag in metadata.tags]
    written = orjson.dumps(values)
    if len(written) > MAX_METADATA_BYTES:
        raise BadInput(
            f"The metadata has {len(written):,} bytes as JSON.", hint=f"Give at most {MAX_METADATA_BYTES:,}."
        )
    return written


def _word(name: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_WORD or not value.isprintable():
        raise BadInput(
            f"The {name} {shown(value)} cannot be used.",
            hint=f"Give 1 to {MAX_WORD} printable characters, or none.",
        )
    return value


def _microseconds(at: datetime) -> int:
    if at.tzinfo is None:
        raise BadInput(
            f"The time {at.isoformat()} of an event has no zone.", hint="Give it with one, UTC for instance."
        )
    us = microseconds(at)
    try:
        moment(us)  # with its zone, a time of the first or last day there is may be none in UTC: nobody could read it
    except OverflowError as error:
        raise BadInput(
            f"The time {at.isoformat()} of an event is not of the years 1 to 9999 in UTC.",
            hint="Give a time within them, or none: then it is now.",
        ) from error
    return us
