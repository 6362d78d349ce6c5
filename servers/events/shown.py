"""How events and documents are shown: as much of them as an answer may hold. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import JsonValue

from eventlog.event import Event
from eventlog.travel.diff import Change
from servers.events import schema
from servers.events.schema import DocumentOut, EventOut, MetadataOut

__all__ = [
    "BRIEF_CHARACTERS",
    "MAX_ANSWER_BYTES",
    "Budget",
    "Detail",
    "fitting",
    "is_cut",
    "show_document",
    "show_event",
    "show_events",
    "size_of",
]

BRIEF_CHARACTERS: Final = 2_000
PREVIEW_CHARACTERS: Final = 400
MAX_CHANGES: Final = 100
MAX_ANSWER_BYTES: Final = 2 * 2**20
"""Of data in one answer; more goes to the next page. A single event may be half as long."""
LARGE_PAGE_BYTES: Final = 30 * 2**20
"""The log cuts its pages at 32 MiB, before an event of at most one."""
ENVELOPE_BYTES: Final = 500

POSITIONS: Final = frozenset({"first_position", "last_position"})
"""As the built-in projections call them in their documents."""

Detail = Literal["brief", "full"]


@dataclass(slots=True)
class Budget:
    """What an answer may still hold. The first thing always fits: else nobody would get past it."""

    left: int = MAX_ANSWER_BYTES
    is_empty: bool = field(default=True, init=False)

    def take(self, size: int) -> bool:
        fits = self.is_empty or size <= self.left
        # Once full, it stays full: pages have no holes.
        self.left = self.left - size if fits else 0
        self.is_empty = False
        return fits


def show_events(
    events: Iterable[Event], *, detail: Detail, has_positions: bool, budget: Budget | None = None
) -> Sequence[EventOut]:
    """As many of them, from the first on, as an answer may hold."""
    budget = budget or Budget()
    shown: list[EventOut] = []
    for event in events:
        size = (
            len(event.stored_data or b"") if detail == "full" else min(len(event.stored_data or b""), BRIEF_CHARACTERS)
        )
        if not budget.take(size + ENVELOPE_BYTES):
            break
        shown.append(show_event(event, detail=detail, has_positions=has_positions))
    return shown


def is_cut(events: Sequence[Event]) -> bool:
    """Whether the log may have read fewer events than it was asked for, because they are large."""
    return sum(len(event.stored_data or b"") for event in events) >= LARGE_PAGE_BYTES


def show_event(event: Event, *, detail: Detail, has_positions: bool) -> EventOut:
    data, preview = fitting(None if event.is_erased else event.data, detail)
    metadata = event.metadata
    return EventOut(
        stream=event.stream.name,
        version=event.version,
        event_id=event.event_id,
        event_type=event.type,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        data=data,
        data_preview=preview,
        is_erased=event.is_erased,
        correlation_id=metadata.correlation_id,
        causation_id=metadata.causation_id,
        principal=metadata.principal,
        position=event.position if has_positions else None,
        metadata=MetadataOut(
            schema_version=event.schema_version,
            source=metadata.source,
            traceparent=metadata.traceparent,
            tags=list(metadata.tags),
            checksum=event.checksum.hex(),
        )
        if detail == "full"
        else None,
    )


def show_document(key: str, document: Mapping[str, Any], *, detail: Detail, has_positions: bool) -> DocumentOut:
    document = shown_document(document, has_positions=has_positions)
    whole, preview = fitting(document, detail)
    return DocumentOut(key=key, document=whole, document_preview=preview)


def show_documents(
    documents: Mapping[str, Mapping[str, Any]], *, detail: Detail, has_positions: bool
) -> Sequence[DocumentOut]:
    """As many of them, from the first on, as an answer may hold."""
    budget = Budget()
    return [
        show_document(key, each, detail=detail, has_positions=has_positions)
        for key, each in documents.items()
        if budget.take(size_of(each, detail))
    ]


def shown_document(document: Mapping[str, Any], *, has_positions: bool) -> Mapping[str, Any]:
    """Projections may keep the position of the last event that they have read in a document of theirs."""
    return document if has_positions else {name: each for name, each in document.items() if name not in POSITIONS}


def fitting(data: Mapping[str, Any] | None, detail: Detail) -> tuple[dict[str, JsonValue] | None, str | None]:
    """The data, or the beginning of its JSON where it is too long."""
    if data is None:
        return None, None
    if detail == "full":
        return dict(data), None
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (dict(data), None) if len(text) <= BRIEF_CHARACTERS else (None, f"{text[:PREVIEW_CHARACTERS]}…")


def show_value(value: JsonValue, *, most: int) -> tuple[JsonValue, str | None]:
    """The value, or the beginning of its JSON where that is longer than `most` characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (value, None) if len(text) <= most else (None, f"{text[:PREVIEW_CHARACTERS]}…")


def show_changes(changes: Sequence[Change], *, detail: Detail, has_positions: bool) -> Sequence[schema.Change]:
    """The first of them; `detail='brief'` cuts long values to the beginning of their JSON."""
    budget = Budget()
    shown: list[schema.Change] = []
    most = BRIEF_CHARACTERS if detail == "brief" else MAX_ANSWER_BYTES // 4
    for change in changes:
        if not has_positions and change.path.rpartition("/")[2] in POSITIONS:
            continue
        before, after = (
            preview or value
            for value, preview in (show_value(each, most=most) for each in (change.before, change.after))
        )
        size = sum(len(json.dumps(each, ensure_ascii=False)) for each in (before, after))
        if len(shown) == MAX_CHANGES or not budget.take(size):
            break
        shown.append(schema.Change(op=change.op, path=change.path, before=before, after=after))
    return shown


def size_of(data: Mapping[str, Any] | None, detail: Detail) -> int:
    """About how many bytes it takes in an answer."""
    return ENVELOPE_BYTES + (len(json.dumps(data, ensure_ascii=False).encode()) if data and detail == "full" else 0)
