"""An event as it travels on the bus: its envelope, and its data unless that is large or about a person.

Erasing reaches the log and not a broker: what is about a person is never copied there. Whoever gets a message without
data reads the event from the log by its stream and version, if it may.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

import orjson
from pydantic import TypeAdapter, ValidationError

from eventlog.bus.subjects import subject_of
from eventlog.event import Event
from eventlog.names import shown
from stoa.errors import BadInput

__all__ = ["MAX_BODY_BYTES", "Message", "decode", "encode"]

MAX_BODY_BYTES: Final = 256 * 2**10
"""With more, an event travels without its data. NATS takes 1 MiB unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Message:
    """`data` is None where it has to be read from the log."""

    event_id: str
    tenant: str
    stream: str
    version: int
    position: int
    type: str
    schema_version: int
    occurred_at: datetime
    recorded_at: datetime
    metadata: dict[str, Any]
    data: dict[str, Any] | None

    @classmethod
    def of(cls, event: Event) -> Self:
        return cls(
            event_id=event.event_id,
            tenant=event.tenant,
            stream=event.stream.name,
            version=event.version,
            position=event.position,
            type=event.type,
            schema_version=event.schema_version,
            occurred_at=event.occurred_at,
            recorded_at=event.recorded_at,
            metadata=orjson.loads(event.raw_metadata) if event.raw_metadata else {},
            data=None if event.is_personal or event.is_erased else dict(event.data),
        )


_MESSAGE: Final = TypeAdapter(Message)


def encode(message: Message) -> bytes:
    body = orjson.dumps(message)
    return body if len(body) <= MAX_BODY_BYTES else orjson.dumps(replace(message, data=None))


def decode(channel: str, subject: str, body: bytes) -> Message:
    """Raises `BadInput` for what is no message, and for one that came under another's subject."""
    try:
        message = _MESSAGE.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(each) for each in first["loc"])
        raise BadInput(f"A message under {shown(subject)} cannot be read: {place} {first['msg']}.") from None
    if subject_of(channel, message.tenant, message.type) != subject:
        raise BadInput(f"A message under {shown(subject)} says that it belongs elsewhere.")
    return message
