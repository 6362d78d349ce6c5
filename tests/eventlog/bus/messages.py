"""Messages to send about."""

from datetime import UTC, datetime
from uuid import UUID

from eventlog.bus.message import Message

AT = datetime(2026, 1, 1, tzinfo=UTC)


def id_of(number: int) -> str:
    return str(UUID(int=number, version=4))


def message(number: int, *, tenant: str = "acme", type: str = "order.placed", text: str = "") -> Message:
    return Message(
        event_id=id_of(number),
        tenant=tenant,
        stream=f"order-{number}",
        version=1,
        position=number,
        type=type,
        schema_version=1,
        occurred_at=AT,
        recorded_at=AT,
        metadata={},
        data={"number": number, "text": text},
    )
