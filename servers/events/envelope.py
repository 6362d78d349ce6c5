"""From what a caller wants appended to events: who it was is stamped here, never taken from the caller. Pure.

The streams and types of Stoa's own records cannot be appended to: what a run did, what was erased and what a document
went through is told by those who did it, or nobody could rely on it.
"""

import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from eventlog.event import Event, Metadata, NewEvent, StreamId
from servers.events.arguments import NewEventIn
from stoa.errors import BadInput, Conflict, Denied
from stoa.principal import Principal

__all__ = ["RESERVED", "SOURCE", "check_repeat", "derived_id", "is_reserved", "new_events"]

RESERVED: Final = frozenset({"log", "bus", "run", "document"})
"""Aggregate types that only their makers write: the log itself, the bus, the host and the content server."""

SOURCE: Final = "events"


def is_reserved(type: str, reserved: Collection[str] = ()) -> bool:
    word = type.partition(".")[0]
    return word in RESERVED or word in reserved


def new_events(
    stream: StreamId,
    events: Sequence[NewEventIn],
    *,
    principal: Principal,
    traceparent: str | None = None,
    reserved: Collection[str] = (),
    idempotency_key: str | None = None,
    key: bytes = b"",
) -> Sequence[NewEvent]:
    """Raises `Denied` for what is reserved. With an `idempotency_key` the ids follow from it, so that the log knows the
    same request again; `key` keeps other tenants from guessing them."""
    for kind, name in [(stream.aggregate_type, stream.name), *((event.type, event.type) for event in events)]:
        if is_reserved(kind, reserved):
            raise Denied(
                f"{name[:100]!r} is kept for Stoa's own records; nobody else may append to it.",
                hint="Choose a stream and types of your own, for instance order-1001 and order.placed.",
            )
    if idempotency_key is not None and any(event.event_id is not None for event in events):
        raise BadInput("There are an idempotency_key and event ids.", hint="Give one or the other.")
    return [
        NewEvent(
            event.type,
            event.data,
            Metadata(
                correlation_id=event.correlation_id,
                causation_id=event.causation_id,
                principal=principal.subject,
                source=SOURCE,
                traceparent=traceparent,
                tags=tuple(event.tags),
            ),
            event_id=event.event_id
            if idempotency_key is None
            else derived_id(stream, idempotency_key, number, key=key),
            occurred_at=event.occurred_at,
            schema_version=event.schema_version,
            subject=event.subject,
        )
        for number, event in enumerate(events)
    ]


def derived_id(stream: StreamId, idempotency_key: str, number: int, *, key: bytes) -> str:
    """The id of the event of this number in the request with this key: a UUID of version 8 (RFC 9562 §5.8)."""
    words = json.dumps([stream.tenant, stream.name, idempotency_key, number]).encode()
    digits = hmac.digest(key, words, "sha256").hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def check_repeat(stored: Sequence[Event], asked: Sequence[NewEvent], *, next_id: str) -> None:
    """Raise `Conflict` when a key that was used before comes with another request. `stored` are the events of the first
    one, and the one after it if there is any; `next_id` the id that one more event of the request would have had."""
    is_longer = any(event.event_id == next_id for event in stored[len(asked) :])
    differs = any(
        (was.type, _json(was)) != (now.type, dict(now.data))
        for was, now in zip(stored, asked, strict=False)
        if not was.is_erased
    )
    if is_longer or differs:
        raise Conflict(
            "The idempotency_key was used for another request to this stream.", hint="Use a key of its own for each."
        )


def _json(event: Event) -> Mapping[str, JsonValue]:
    """As it was written: `data` is as the newest schema version wants it."""
    data: Any = json.loads(event.stored_data or b"{}")
    return data
