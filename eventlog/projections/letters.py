"""Dead letters: what could not be applied, tried again by a person's wish, or given up."""

from collections.abc import Mapping, Sequence

import orjson

from eventlog.event import Event, StreamId, moment
from eventlog.projections.projection import Projection
from eventlog.projections.status import DeadLetter, Purged, Retried
from eventlog.projections.tables import Generation, Parked, load_parked, load_shelf
from eventlog.projections.work import Means, Mended
from eventlog.projections.worker import mend
from stoa.errors import BadInput, Conflict, NotFound, StoaError, Unavailable

__all__ = ["MAX_LETTERS", "letters", "purge", "retry"]

MAX_LETTERS = 200
"""In one page, and in one purge by ids."""
_TRIES = 20
"""When others write to the same projection at the same time."""


async def letters(
    means: Means,
    projections: Sequence[Projection],
    *,
    tenant: str | None,
    after: str,
    limit: int,
    with_retrying: bool,
) -> Sequence[DeadLetter]:
    if not 1 <= limit <= MAX_LETTERS:
        raise BadInput(f"A page of {limit} dead letters was asked for.", hint=f"Ask for 1 to {MAX_LETTERS}.")
    start = _numbers(after) if after else (0, 0)
    found: list[tuple[str, Parked]] = []
    for projection in projections:
        for generation in await _live(means, projection.name):
            found += [
                (projection.name, one)
                for one in await load_parked(means.database, generation.pk)
                if tenant in (None, one.tenant)
                and (one.generation, one.position) > start
                and (one.is_dead or with_retrying)
            ]
    found.sort(key=lambda pair: (pair[1].generation, pair[1].position))
    return [await _letter(means, name, one) for name, one in found[:limit]]


async def retry(means: Means, projection: Projection, id: str, *, tenant: str | None) -> Retried:
    parked, mended = await _mended(means, projection, id, tenant=tenant, is_skipped=False)
    return Retried(id, parked.stream, mended.applied, mended.reason)


async def purge(means: Means, projection: Projection, id: str, *, tenant: str | None) -> Purged:
    parked, mended = await _mended(means, projection, id, tenant=tenant, is_skipped=True)
    return Purged(id, parked.stream, parked.version, parked.event_type, mended.applied, mended.reason)


async def _mended(
    means: Means, projection: Projection, id: str, *, tenant: str | None, is_skipped: bool
) -> tuple[Parked, Mended]:
    """Try a parked stream from the failed event on, or from the one after, until nothing waits or one fails."""
    first: Parked | None = None
    applied = conflicts = 0
    while True:
        generation, parked = await _find(means, projection, id, tenant=tenant, stream=first and first.stream)
        if parked is None:
            if first is None:
                raise NotFound(f"Projection {projection.name!r} has no dead letter {id!r}.", hint="List them again.")
            return first, Mended(applied, None)  # another process finished what this one had begun
        start = parked.version + 1 if is_skipped and first is None else parked.version
        try:
            mended = await mend(means, projection, generation, parked, start=start)
        except Conflict:
            conflicts += 1
            if conflicts == _TRIES:
                raise Unavailable(
                    f"Projection {projection.name!r} is being written to all the time.",
                    hint="Try again.",
                    retry_after=1.0,
                ) from None
            continue
        first = first or parked
        applied += mended.applied
        if mended.parked is None or mended.reason is not None:
            return first, Mended(applied, mended.parked, mended.reason)


async def _find(
    means: Means, projection: Projection, id: str, *, tenant: str | None, stream: str | None
) -> tuple[Generation, Parked | None]:
    number, _ = _numbers(id)
    for generation in await _live(means, projection.name):
        if generation.pk != number:
            continue
        if generation.version != projection.version:
            raise Conflict(
                f"Dead letter {id!r} belongs to version {generation.version} of {projection.name!r}; this process has"
                f" version {projection.version}.",
                hint="Ask a process of that version, or wait until the projection is built anew.",
            )
        for one in await load_parked(means.database, number):
            if tenant in (None, one.tenant) and (one.id == id if stream is None else one.stream == stream):
                return generation, one
        return generation, None
    raise NotFound(
        f"Projection {projection.name!r} has no dead letter {id!r}.",
        hint="It was built anew since, perhaps: list the dead letters again.",
    )


async def _live(means: Means, name: str) -> Sequence[Generation]:
    shelf = await load_shelf(means.database, name)
    return [] if shelf is None else shelf.live


async def _letter(means: Means, name: str, parked: Parked) -> DeadLetter:
    event, waiting = await _event(means, parked)
    is_gone = event is None or event.is_erased
    payload = None if event is None or is_gone else _payload(event)
    return DeadLetter(
        id=parked.id,
        projection=name,
        tenant=parked.tenant,
        stream=parked.stream,
        version=parked.version,
        position=parked.position,
        event_type=parked.event_type,
        event_id=None if event is None else event.event_id,
        # The reason may quote what the event said.
        reason="the event was erased since; a retry goes on without it" if is_gone else parked.reason,
        attempts=parked.attempts,
        waiting=waiting,
        first_failed_at=moment(parked.first_us),
        last_failed_at=moment(parked.last_us),
        retry_at=None if parked.retry_us is None else moment(parked.retry_us),
        payload=None if payload is None else orjson.loads(orjson.dumps(payload)),
    )


def _payload(event: Event) -> Mapping[str, object]:
    """As the projection is given it; as it was written where it cannot be brought up: why it failed, most likely."""
    try:
        return event.data
    except StoaError:
        return orjson.loads(event.stored_data or b"{}")


async def _event(means: Means, parked: Parked) -> tuple[Event | None, int]:
    """The failed event, if it is still there, and how many came to its stream after it."""
    stream = StreamId(parked.tenant, parked.stream)
    try:
        waiting = (await means.log.stream_info(stream)).version - parked.version
        events = await means.log.read_stream(stream, from_version=parked.version, to_version=parked.version, limit=1)
    except NotFound:
        return None, 0
    return (events[0] if events and events[0].version == parked.version else None), waiting


def _numbers(id: str) -> tuple[int, int]:
    generation, _, position = id.partition("-")
    if not (generation.isascii() and generation.isdigit() and position.isascii() and position.isdigit()):
        raise BadInput(f"{id[:60]!r} is no id of a dead letter.", hint="Use an id from the list of dead letters.")
    if max(len(generation), len(position)) > 18:
        raise BadInput(f"{id[:60]!r} is no id of a dead letter.", hint="Use an id from the list of dead letters.")
    return int(generation), int(position)
