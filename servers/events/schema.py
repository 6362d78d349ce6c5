"""What the tools answer. Positions and lags tell how much all tenants write together: they are there for callers with
`events:admin`, and null for others."""

import json
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = [
    "AppendedEvents",
    "Change",
    "DeadLetterList",
    "DeadLetterOut",
    "DocumentOut",
    "ErasedSubject",
    "EventOut",
    "EventPage",
    "EventTypeDescription",
    "EventTypeSummary",
    "ExportedSubject",
    "MetadataOut",
    "MovedLetter",
    "ProjectionList",
    "ProjectionOut",
    "PurgedDeadLetters",
    "RebuiltProjection",
    "Replayed",
    "RetriedDeadLetter",
    "SnapshotTaken",
    "State",
    "StreamPage",
]

MAX_LINE = 200
"""Characters of data in the text mirror of one event."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class AppendedEvents(_Result):
    stream: str
    first_version: int = Field(description="Of the first of these events in the stream.")
    version: int = Field(description="The stream's version after them; the next append can expect it.")
    event_ids: list[str]
    is_repeat: bool = Field(description="Whether they were there already: then nothing was appended.")
    position: int | None = Field(
        default=None, description="Of the last event in the whole log; with events:admin only."
    )

    def as_text(self) -> str:
        said = "there already" if self.is_repeat else "appended"
        count = len(self.event_ids)
        of = f"version {self.version}" if count == 1 else f"versions {self.first_version} to {self.version}"
        return f"{said}: {count} event{'' if count == 1 else 's'} of {self.stream}, {of}"


class MetadataOut(_Result):
    schema_version: int = Field(description="The one it was written with; `data` is as the newest wants it.")
    source: str | None
    traceparent: str | None
    tags: list[str]
    checksum: str = Field(description="Covers the event and the checksum before it in the stream.")


class EventOut(_Result):
    stream: str
    version: int = Field(description="Its number in the stream.")
    event_id: str
    event_type: str
    occurred_at: datetime
    recorded_at: datetime
    data: dict[str, JsonValue] | None = Field(description="Null when erased, or cut (then see `data_preview`).")
    data_preview: str | None = Field(
        default=None, description="The beginning of long data; detail='full' shows it whole."
    )
    is_erased: bool = Field(default=False, description="Its data was removed for good.")
    correlation_id: str | None = None
    causation_id: str | None = None
    principal: str | None = Field(default=None, description="Who appended it, as the writing server knew the caller.")
    position: int | None = Field(default=None, description="In the whole log; with events:admin only.")
    metadata: MetadataOut | None = Field(default=None, description="With detail='full'.")

    def as_line(self) -> str:
        told = "(erased)" if self.is_erased else self.data_preview or _json(self.data)
        by = f" by {self.principal}" if self.principal else ""
        return f"{self.recorded_at:%Y-%m-%d %H:%M:%S} {self.stream} v{self.version} {self.event_type}{by}: " + (
            told if len(told) <= MAX_LINE else f"{told[:MAX_LINE]}…"
        )


class EventPage(_Result):
    events: list[EventOut]
    next_cursor: str | None = None

    def as_text(self) -> str:
        lines = [each.as_line() for each in self.events]
        return "\n".join([*(lines or ["There are no such events."]), *_more(self.next_cursor)])


class StreamPage(EventPage):
    stream: str
    stream_version: int = Field(description="Of the newest event.")
    first_version: int = Field(description="Of the oldest event that is kept; earlier ones were truncated.")


class ExportedSubject(EventPage):
    subject: str


class Change(_Result):
    path: str = Field(description="Where in the state, as a JSON Pointer, e.g. '/lines/0/amount'; '' is the whole.")
    op: Literal["add", "remove", "replace"]
    before: JsonValue = None
    after: JsonValue = None

    def as_line(self) -> str:
        match self.op:
            case "add":
                return f"+ {self.path}: {_cut(self.after)}"
            case "remove":
                return f"- {self.path}: {_cut(self.before)}"
            case "replace":
                return f"~ {self.path}: {_cut(self.before)} -> {_cut(self.after)}"


class DocumentOut(_Result):
    key: str
    document: dict[str, JsonValue] | None = Field(description="Null where it is too long for this answer.")
    document_preview: str | None = None

    def as_line(self) -> str:
        return f"{self.key}: {_cut(self.document) if self.document is not None else self.document_preview}"


class State(_Result):
    stream: str | None = None
    projection: str | None = None
    version: int | None = Field(
        default=None, description="The stream's version that the state belongs to; 0: it did not exist."
    )
    state: JsonValue = Field(
        default=None, description="What the stream's events add up to; null where it did not exist, or is too long."
    )
    state_preview: str | None = Field(default=None, description="The beginning of a long state.")
    recorded_at: datetime | None = Field(default=None, description="When the last event of the state was recorded.")
    documents: list[DocumentOut] | None = Field(default=None, description="Of a projection.")
    changes: list[Change] | None = Field(
        default=None, description="What has changed since the earlier moment, if one was given."
    )
    changes_cut: bool = Field(default=False, description="Whether there are more changes than are listed.")
    next_cursor: str | None = None

    def as_text(self) -> str:
        if self.documents is not None:
            lines = [f"Documents of {self.projection}:", *(each.as_line() for each in self.documents)]
            lines += [] if self.documents else ["There were none."]
        elif not self.version:
            lines = [f"{self.stream} did not exist then."]
        else:
            lines = [f"{self.stream} at version {self.version}: {self.state_preview or _cut(self.state, 2_000)}"]
        if self.changes is not None:
            lines += ["Changes since the earlier moment:", *(each.as_line() for each in self.changes)]
            lines += [] if self.changes else ["None."]
            lines += ["(more changes are not listed)"] if self.changes_cut else []
        return "\n".join([*lines, *_more(self.next_cursor)])


class Replayed(_Result):
    projection: str
    events: int = Field(description="How many were replayed, of this tenant and of the types that were asked for.")
    documents: list[DocumentOut] = Field(description="What they add up to in a sandbox; nothing of it is kept.")
    total: int = Field(description="How many documents there are in the sandbox.")
    failed: int = Field(description="Events that could not be applied; later ones of their streams were left out.")
    is_complete: bool = Field(description="False when the limit of events was reached before the end of the log.")
    position: int | None = Field(
        default=None, description="Of the last event that was replayed; with events:admin only."
    )

    def as_text(self) -> str:
        end = "" if self.is_complete else " (stopped at the limit of events)"
        head = f"{self.events} events replayed into {self.total} documents of {self.projection}{end}"
        return "\n".join([head, *(each.as_line() for each in self.documents)])


class SnapshotTaken(_Result):
    stream: str
    version: int = Field(description="Of the stream that the snapshot holds.")

    def as_text(self) -> str:
        return f"snapshot of {self.stream} at version {self.version}"


class ProjectionOut(_Result):
    name: str
    description: str
    kind: Literal["documents", "sink"]
    version: int
    state: str = Field(description="new, live, catching_up, rebuilding, paused, waiting, halted or superseded.")
    types: list[str] = Field(description="Event types that it reads; empty: all.")
    dead_letters: int = Field(description="Events of yours that it could not read; their streams wait.")
    updated_at: datetime | None
    position: int | None = Field(
        default=None, description="How far it is; this and the following with events:admin only."
    )
    lag_events: int | None = None
    lag_seconds: float | None = None
    rebuild_position: int | None = Field(default=None, description="How far the generation is that is being built.")
    rebuild_reason: str | None = None

    def as_line(self) -> str:
        lag = "" if self.lag_events is None else f", {self.lag_events} events behind"
        letters = f", {self.dead_letters} dead letters" if self.dead_letters else ""
        return f"{self.name} (version {self.version}): {self.state}{lag}{letters}. {self.description}"


class ProjectionList(_Result):
    projections: list[ProjectionOut]

    def as_text(self) -> str:
        return "\n".join([each.as_line() for each in self.projections] or ["There are no projections."])


class RebuiltProjection(_Result):
    projection: ProjectionOut
    is_done: bool = Field(description="Whether the new generation serves; otherwise it is still being built.")

    def as_text(self) -> str:
        return f"{'rebuilt' if self.is_done else 'still being built'}: {self.projection.as_line()}"


class DeadLetterOut(_Result):
    id: str
    projection: str
    stream: str
    version: int
    event_type: str
    reason: str = Field(description="Why the event could not be applied.")
    attempts: int
    waiting: int = Field(description="Later events of the stream that wait behind it.")
    first_failed_at: datetime
    last_failed_at: datetime
    retry_at: datetime | None = Field(description="When it is tried again by itself; null: it waits for somebody.")
    payload: dict[str, JsonValue] | None = Field(description="The event's data; null when erased, or cut.")
    payload_preview: str | None = Field(
        default=None, description="The beginning of long data; detail='full' shows it whole."
    )

    def as_line(self) -> str:
        return (
            f"{self.id}: {self.projection} at {self.stream} v{self.version} {self.event_type},"
            f" {self.attempts} attempts, {self.waiting} waiting: {self.reason}"
        )


class DeadLetterList(_Result):
    dead_letters: list[DeadLetterOut]
    next_cursor: str | None = None

    def as_text(self) -> str:
        lines = [each.as_line() for each in self.dead_letters]
        return "\n".join([*(lines or ["There are no dead letters."]), *_more(self.next_cursor)])


class RetriedDeadLetter(_Result):
    id: str
    stream: str
    applied: int = Field(description="Events that were applied: the failed one and those that waited.")
    is_mended: bool
    reason: str | None = Field(description="Why the stream is parked again, if it is.")

    def as_text(self) -> str:
        if self.is_mended:
            return f"mended: {self.applied} events of {self.stream} applied"
        return f"{self.stream} waits again after {self.applied} events: {self.reason}"


class MovedLetter(_Result):
    id: str
    stream: str
    version: int
    event_type: str
    applied: int = Field(description="Events behind it that were applied.")
    reason: str | None = Field(description="Why one of those failed in its turn, if it did.")


class PurgedDeadLetters(_Result):
    projection: str
    purged: list[MovedLetter] = Field(description="Events that were given up, and what became of those behind them.")

    def as_text(self) -> str:
        lines = [f"given up: {each.stream} v{each.version} {each.event_type}" for each in self.purged]
        return "\n".join(lines or ["There was nothing to give up."])


class EventTypeSummary(_Result):
    event_type: str
    description: str
    is_described: bool = Field(description="Whether a schema is known; other types are taken as they are.")


class EventTypeDescription(_Result):
    event_type: str | None = None
    description: str = ""
    version: int | None = Field(default=None, description="The newest schema version.")
    schemas: dict[str, JsonValue] = Field(default={}, description="JSON Schema of the data, by schema version.")
    upcasts_from: list[int] = Field(
        default=[], description="Older versions that are brought up to the newest when read."
    )
    is_described: bool = False
    is_used: bool = Field(default=False, description="Whether there are events of this type.")
    is_reserved: bool = Field(default=False, description="Whether only Stoa's own servers append events of it.")
    read_by: list[str] = Field(default=[], description="Projections that read it.")
    types: list[EventTypeSummary] | None = Field(default=None, description="All types, when none was asked for.")
    next_cursor: str | None = None

    def as_text(self) -> str:
        if self.types is not None:
            lines = [f"{each.event_type}: {each.description or 'no description'}" for each in self.types]
            return "\n".join([*(lines or ["There are no event types yet."]), *_more(self.next_cursor)])
        known = f"schema version {self.version}" if self.is_described else "nobody has described its data"
        return f"{self.event_type}: {self.description or 'no description'} ({known})\n{_json(self.schemas)}"


class ErasedSubject(_Result):
    subject: str
    events: int = Field(description="Events that were erased now; their places and checksums stay.")
    streams: int
    snapshots: int = Field(description="Snapshots that were deleted, because they held what was erased.")
    was_known: bool = Field(description="Whether there was a key of this subject until now.")

    def as_text(self) -> str:
        return f"erased: {self.events} events of {self.streams} streams about {self.subject!r}"


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cut(value: JsonValue, most: int = MAX_LINE) -> str:
    text = _json(value)
    return text if len(text) <= most else f"{text[:most]}…"


def _more(cursor: str | None) -> list[str]:
    return [] if cursor is None else [f"(there is more: cursor={cursor})"]
