"""The log played again into a sandbox: a projection as it was, or as another fold would have made it. Nothing is
written, and the real read models do not notice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from eventlog.event import Filter
from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog
from eventlog.projections.fold import Sandbox
from eventlog.projections.projection import DocumentProjection
from eventlog.travel.diff import Change, diff
from eventlog.travel.moment import NOW, At, position_of
from stoa.errors import BadInput

__all__ = ["MAX_EVENTS", "DocumentsAt", "Replayed", "compare_documents", "documents_at", "replay"]

MAX_EVENTS: Final = 1_000_000
PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """`events` were read, up to `position`. `is_complete` unless it was stopped by `max_events` before `until`: go on
    after `position`."""

    sandbox: Sandbox
    events: int
    position: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class DocumentsAt:
    """The documents of a tenant by key, as of `position`. `failed` events could not be applied; of their streams later
    ones are left out."""

    documents: dict[str, dict[str, Any]]
    position: int
    failed: int


async def replay(
    log: EventLog,
    projection: DocumentProjection,
    *,
    tenant: str | None,
    after: int = 0,
    until: At = NOW,
    types: tuple[str, ...] = (),
    max_events: int = MAX_EVENTS,
    on_progress: OnProgress = silent,
) -> Replayed:
    """Events after a position and up to a moment into a fresh sandbox: of one tenant (all tenants for None), of
    `types` only (those of the projection without any). `on_progress` counts positions."""
    if max_events < 1:
        raise BadInput(f"{max_events} events cannot be replayed.", hint="Give at least 1.")
    end = await position_of(log, until)
    sandbox = Sandbox(projection)
    filter = Filter(tenant=tenant, types=types or projection.types)
    position, count = after, 0
    while position < end:
        limit = min(PAGE, max_events - count)
        if not limit:
            return Replayed(sandbox, count, position, is_complete=False)
        page = await log.read_all(position, filter=filter, limit=limit, until=end + 1)
        for event in page:
            sandbox.apply(event)
        count += len(page)
        position = page[-1].position if page else end  # a page of large events has fewer than were asked for
        on_progress(position - after, end - after)
    return Replayed(sandbox, count, max(position, after), is_complete=True)


async def documents_at(
    log: EventLog,
    projection: DocumentProjection,
    tenant: str,
    at: At = NOW,
    *,
    prefix: str = "",
    max_events: int = MAX_EVENTS,
    on_progress: OnProgress = silent,
) -> DocumentsAt:
    """The documents of a tenant as they were (those whose keys begin so). Raises `BadInput` when more than
    `max_events` would have to be replayed: half a state is none."""
    played = await replay(
        log, projection, tenant=tenant, until=at, max_events=max_events, on_progress=on_progress
    )  # fmt: skip
    if not played.is_complete:
        raise BadInput(
            f"The state of {projection.name!r} would need more than {max_events:,} events.",
            hint="Ask for an earlier moment.",
        )
    documents = played.sandbox.documents(tenant)
    kept = {key: document for key, document in documents.items() if key.startswith(prefix)}
    return DocumentsAt(kept, played.position, len(played.sandbox.failed))


async def compare_documents(
    log: EventLog,
    projection: DocumentProjection,
    tenant: str,
    before: At,
    after: At = NOW,
    *,
    prefix: str = "",
    max_events: int = MAX_EVENTS,
) -> tuple[DocumentsAt, DocumentsAt, Sequence[Change]]:
    """What has changed in the documents; the keys are the first step of each change's path."""
    one = await documents_at(log, projection, tenant, before, prefix=prefix, max_events=max_events)
    other = await documents_at(log, projection, tenant, after, prefix=prefix, max_events=max_events)
    return one, other, diff(one.documents, other.documents)
