"""What this server tells the event log: which document came, changed or went. Never a word of its text."""

from typing import Any, Final

from eventlog.event import Metadata, NewEvent, StreamId
from eventlog.schemas import EventType
from servers.content.values import Document, Origin, Put

__all__ = ["DELETED", "EVENT_TYPES", "INGESTED", "REPLACED", "TYPES", "deletion", "events_of", "stream_of"]

INGESTED: Final = "document.ingested"
REPLACED: Final = "document.replaced"
DELETED: Final = "document.deleted"
TYPES: Final = (INGESTED, REPLACED, DELETED)

_NUMBER: Final = {"type": "integer", "minimum": 0}
_DOCUMENT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "title": {"type": "string"},
        "name": {"type": ["string", "null"]},
        "media_type": {"type": "string"},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "version": {**_NUMBER, "minimum": 1},
        "characters": _NUMBER,
        "chunks": _NUMBER,
    },
    "required": ["id", "title", "name", "media_type", "sha256", "version", "characters", "chunks"],
}
"""Open to fields that come later: older processes read on."""

EVENT_TYPES: Final = (
    EventType(INGESTED, "A document was stored for the first time.", schemas={1: _DOCUMENT}),
    EventType(REPLACED, "A document got new content, or another title or type.", schemas={1: _DOCUMENT}),
    EventType(DELETED, "A document was removed; its data is as it was before.", schemas={1: _DOCUMENT}),
)


def events_of(tenant: str, put: Put, origin: Origin) -> list[tuple[StreamId, NewEvent]]:
    """What a put has changed, in order; nothing where the document was known."""
    events: list[tuple[StreamId, NewEvent]] = []
    if put.removed is not None:
        events.append(deletion(tenant, put.removed, origin))
    if put.created or put.changed:
        events.append(_told(INGESTED if put.created else REPLACED, tenant, put.document, origin))
    return events


def deletion(tenant: str, document: Document, origin: Origin) -> tuple[StreamId, NewEvent]:
    return _told(DELETED, tenant, document, origin)


def stream_of(tenant: str, document_id: str) -> StreamId:
    return StreamId(tenant, f"document-{document_id}")


def _told(type: str, tenant: str, document: Document, origin: Origin) -> tuple[StreamId, NewEvent]:
    data = {
        "id": document.id,
        "title": document.title,
        "name": document.name,
        "media_type": document.media_type,
        "sha256": document.sha256,
        "version": document.version,
        "characters": document.characters,
        "chunks": document.chunks,
    }
    metadata = Metadata(principal=origin.principal, source=origin.source)
    return stream_of(tenant, document.id), NewEvent(type, data, metadata)
