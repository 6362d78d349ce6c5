"""`stoa events state`, `replay` and `snapshot`: what the events added up to, at any moment."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import anyio
from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from eventlog.aggregates.aggregate import fresh
from eventlog.aggregates.generic import Aggregates
from eventlog.aggregates.repository import Repository
from eventlog.event import Event, StreamId
from eventlog.model import EventModel
from eventlog.names import check_stream, check_tenant
from eventlog.projections.builtin import BUILTIN
from eventlog.projections.projection import MAX_KEY_CHARACTERS, Document, DocumentProjection
from eventlog.travel.diff import Change
from eventlog.travel.moment import NOW, At
from eventlog.travel.replay import Replayed, compare_documents, documents_at
from eventlog.travel.replay import replay as play
from eventlog.travel.state import StateAt, compare_states, state_at
from host import moments, show_events
from host.escape import visible
from host.log import open_whole
from host.output import Output
from host.progress import progress
from host.session import OK, TOOL_FAILED
from pool.nearby import did_you_mean
from stoa.errors import BadInput, NotFound
from stoa.settings import Settings

__all__ = ["Subject", "diff_of", "replay", "snapshot", "state_of"]

MOST_SHOWN = 50
"""Documents that are shown to a person."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked for: a stream, or the documents of a projection whose keys begin so. Exactly one is named."""

    tenant: str
    stream: str | None = None
    projection: str | None = None
    prefix: str = ""

    def at(self, text: str | None) -> At:
        """The moment. A number alone is a version of a stream; of a projection it is a position."""
        if text is None:
            return NOW
        match moments.parse(text, now=datetime.now(UTC)):
            case moments.Version(number):
                return At(version=number) if self.projection is None else At(position=number)
            case moments.Position(number):
                return At(position=number)
            case moment:
                return At(time=moment)


def state_of(settings: Settings, output: Output, subject: Subject, when: str | None) -> int:
    at = subject.at(when)
    if subject.stream is not None:
        stream = check_stream(StreamId(subject.tenant, subject.stream))

        async def ask() -> StateAt[Any]:
            async with open_whole(settings) as (log, model):
                return await state_at(log, model.by_type().of(stream), stream, at)

        with output.working(f"folding {stream.name}"):
            found = anyio.run(ask)
        output.document(
            {**_head(found), "state": found.state},
            lambda console: (_show_head(console, found), show_events.document(console, found.state)),
        )
        return OK

    async def look() -> tuple[dict[str, dict[str, Any]], int, int]:
        async with open_whole(settings) as whole:
            projection = _projection(whole.model, subject)
            told = await documents_at(
                whole.log, projection, subject.tenant, at, prefix=subject.prefix, on_progress=on_progress
            )
            return told.documents, told.position, told.failed

    check_tenant(subject.tenant)
    with progress(output, f"replaying {subject.projection}") as on_progress:
        documents, position, failed = anyio.run(look)
    output.document(
        {
            "projection": subject.projection,
            "tenant": subject.tenant,
            "position": position,
            "failed": failed,
            "documents": cast("JsonValue", documents),
        },
        lambda console: (
            console.print(Text.assemble((str(subject.projection), "bold"), (f"  at position {position:,}", "dim"))),
            _show_documents(console, documents),
        ),
    )
    _note_failed(output, failed)
    return OK


def diff_of(settings: Settings, output: Output, subject: Subject, before: str, after: str) -> int:
    """What changed from one moment to the other."""
    one, other = subject.at(before), subject.at(after)
    check_tenant(subject.tenant)

    async def ask() -> tuple[Sequence[Change], Mapping[str, JsonValue], Mapping[str, JsonValue]]:
        async with open_whole(settings) as (log, model):
            if subject.stream is not None:
                stream = check_stream(StreamId(subject.tenant, subject.stream))
                found = await compare_states(log, model.by_type().of(stream), stream, one, other)
                return found.changes, _head(found.before), _head(found.after)
            first, last, changes = await compare_documents(
                log, _projection(model, subject), subject.tenant, one, other, prefix=subject.prefix
            )
            return changes, {"position": first.position}, {"position": last.position}

    with output.working("comparing"):
        changes, first, last = anyio.run(ask)
    output.document(
        {"before": dict(first), "after": dict(last), "changes": [each.as_json() for each in changes]},
        lambda console: _show_changes(console, changes),
    )
    if not changes:
        output.note("Nothing changed.")
    return OK


def replay(
    settings: Settings,
    output: Output,
    tenant: str,
    *,
    after: int,
    until: str | None,
    types: tuple[str, ...],
    projection: str | None,
) -> int:
    """Exit code 1 when an event could not be applied."""
    subject = Subject(tenant, projection=projection or "streams")
    at = subject.at(until)
    check_tenant(tenant)

    async def ask() -> Replayed:
        async with open_whole(settings) as (log, model):
            fold = _each_stream(model.by_type()) if projection is None else _projection(model, subject)
            return await play(log, fold, tenant=tenant, after=after, until=at, types=types, on_progress=on_progress)

    with progress(output, "replaying") as on_progress:
        done = anyio.run(ask)
    documents = done.sandbox.documents(tenant)
    failed = [
        {"stream": each.stream.name, "version": each.version, "position": each.position, "reason": each.reason}
        for each in done.sandbox.failed
    ]
    said = f"{done.events:,} event{'' if done.events == 1 else 's'} replayed"
    output.document(
        {
            "projection": projection,
            "tenant": tenant,
            "after": after,
            "position": done.position,
            "events": done.events,
            "is_complete": done.is_complete,
            "failed": cast("JsonValue", failed),
            "documents": cast("JsonValue", documents),
        },
        lambda console: (
            _show_documents(console, documents),
            console.print(Text(f"{said}, up to position {done.position:,}; nothing was written.", "dim")),
        ),
    )
    for each in failed[:MOST_SHOWN]:
        output.note(f"@{each['position']} of {each['stream']} could not be applied: {each['reason']}")
    if not done.is_complete:
        output.note(f"There is more: go on with --after {done.position}.")
    return TOOL_FAILED if failed else OK


def snapshot(settings: Settings, output: Output, stream: StreamId) -> int:
    async def ask() -> int:
        async with open_whole(settings) as (log, model):
            return await Repository(log, model.by_type().of(stream)).take_snapshot(stream)

    version = anyio.run(ask)
    output.document(
        {"stream": stream.name, "tenant": stream.tenant, "version": version},
        lambda console: console.print(
            Text(f"A snapshot of {visible(stream.name)} at version {version:,} is kept."), soft_wrap=True
        ),
    )
    return OK


def _projection(model: EventModel, subject: Subject) -> DocumentProjection:
    known = {each.name: each for each in (*BUILTIN, *model.projections)}
    name = subject.projection or ""
    found = known.get(name)
    if found is None:
        raise NotFound(f"There is no projection {name[:80]!r}.", hint=did_you_mean(name, known))
    if not isinstance(found, DocumentProjection):
        raise BadInput(f"The projection {name!r} keeps no documents: its effect is elsewhere.")
    return found


def _each_stream(aggregates: Aggregates) -> DocumentProjection:
    """The aggregate of each stream, as a document of its own."""

    def apply(key: str, document: Document | None, event: Event) -> Document | None:
        aggregate = aggregates.of(event.stream)
        return aggregate.apply(fresh(aggregate) if document is None else document, event)

    return DocumentProjection(name="streams", types=(), keys=_key, apply=apply)


def _key(event: Event) -> Sequence[str]:
    name = event.stream.name
    if len(name) > MAX_KEY_CHARACTERS:
        name = f"{name[: MAX_KEY_CHARACTERS - 20]}…{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return (name,)


def _head(found: StateAt[Any]) -> dict[str, JsonValue]:
    return {
        "stream": found.stream.name,
        "tenant": found.stream.tenant,
        "version": found.version,
        "position": found.position,
        "recorded_at": found.recorded_at.isoformat() if found.recorded_at else None,
    }


def _show_head(console: Console, found: StateAt[Any]) -> None:
    when: Callable[[datetime], str] = moments.local if console.is_terminal else moments.utc
    said = f"  version {found.version:,}" if found.version else "  before its first event"
    said += f", of {when(found.recorded_at)}" if found.recorded_at else ""
    console.print(Text.assemble((visible(found.stream.name), "bold"), (said, "dim")), soft_wrap=True)


def _show_documents(console: Console, documents: Mapping[str, Mapping[str, Any]]) -> None:
    for key, document in list(documents.items())[:MOST_SHOWN]:
        console.print(Text(visible(key), "bold"), soft_wrap=True)
        show_events.document(console, document, indent=show_events.INDENT)
    if len(documents) > MOST_SHOWN:
        console.print(Text(f"… and {len(documents) - MOST_SHOWN:,} more; --json has all.", "dim"))


_SIGNS = {"add": ("+", "green"), "remove": ("-", "red"), "replace": ("~", "yellow")}


def _show_changes(console: Console, changes: Sequence[Change]) -> None:
    for each in changes:
        sign, style = _SIGNS[each.op]
        console.print(Text.assemble((f"{sign} ", style), (visible(each.path or "/"), "bold")), soft_wrap=True)
        if each.op != "add":
            show_events.line(console, "  from  ", each.before)
        if each.op != "remove":
            show_events.line(console, "  to    ", each.after)


def _note_failed(output: Output, failed: int) -> None:
    if failed:
        what = "1 event" if failed == 1 else f"{failed:,} events"
        output.note(f"{what} could not be applied; later ones of the same stream are left out.")
