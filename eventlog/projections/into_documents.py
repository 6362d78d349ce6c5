"""Events into documents: the documents and the checkpoint in one write, so that each event is applied exactly once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio.lowlevel

from eventlog.event import Event, StreamId
from eventlog.projections.decide import failed_again, failed_first
from eventlog.projections.fold import applied, keys_of, reason_of
from eventlog.projections.projection import ERASED, DocumentProjection, is_wanted
from eventlog.projections.tables import (
    Change,
    DocumentKey,
    Generation,
    Parked,
    cas,
    forget_parked,
    keep_documents,
    keep_parked,
    read_documents,
)
from eventlog.projections.work import Means, Mended, checkpoint_of, is_touched_by_erasure

__all__ = ["Page", "apply_to_documents", "mend_documents"]

_MOST_KEYS = 2_000
"""Documents held in memory for one write; a page that needs more is cut."""
_BREATH = 32
"""Events after which other tasks of the process get their turn."""


@dataclass(frozen=True, slots=True)
class Page:
    """What was written: `events` of those handed in, which held `bytes` together with the documents they touched."""

    events: int
    bytes: int


@dataclass(slots=True)
class _Folding:
    """The documents of one page while they change."""

    documents: dict[DocumentKey, bytes | None]
    changes: dict[DocumentKey, Change] = field(default_factory=dict[DocumentKey, Change])
    applied: int = 0

    def apply(self, projection: DocumentProjection, event: Event, keys: "Sequence[bytes] | Exception") -> str | None:
        """The reason when it fails."""
        if isinstance(keys, Exception):
            return reason_of(keys)
        try:
            changed = applied(projection, keys, self.documents, event)
        except Exception as error:  # noqa: BLE001 - whatever a projection raises is a failure of this event
            return reason_of(error)
        for place, document in changed.items():
            self.documents[place] = document
            self.changes[place] = (document, event.position)
        self.applied += 1
        return None

    def bytes(self) -> int:
        return sum(len(document) for document in self.documents.values() if document is not None)


async def apply_to_documents(
    means: Means,
    projection: DocumentProjection,
    generation: Generation,
    parked: Mapping[StreamId, Parked],
    events: Sequence[Event],
    *,
    epoch: str,
) -> Page:
    """Raises `Conflict` when somebody else went on from the same place; then nothing of this was written."""
    stale = await _stale(means, projection, generation, events)
    wished = [event for event in events if is_wanted(event, projection)]
    wished, keys = await _keys(projection, [event for event in wished if event.stream not in parked])
    # A page that was cut ends before the first event whose keys are not known.
    cut = [event for event in events if len(keys) == len(wished) or event.position < wished[len(keys)].position]
    folding = await _folding(means, generation, wished, keys)
    poisoned: dict[StreamId, Parked] = {}
    for number, (event, known) in enumerate(zip(wished, keys, strict=False)):
        if number % _BREATH == 0:
            await anyio.lowlevel.checkpoint()
        if event.stream in poisoned:
            continue
        reason = folding.apply(projection, event, known)
        if reason is not None:
            poisoned[event.stream] = failed_first(
                generation.pk, event, reason, now_us=means.now_us(), policy=means.policy, rng=means.rng
            )
    await means.database.write(
        cas(
            generation,
            now_us=means.now_us(),
            checkpoint=checkpoint_of(cut[-1], epoch),
            applied=folding.applied,
            failures=len(poisoned),
            stale=stale,
            lease=means.lease(),
        ),
        *keep_documents(generation.pk, folding.changes),
        *keep_parked(poisoned.values()),
    )
    return Page(len(cut), folding.bytes() + sum(len(event.stored_data or b"") for event in cut))


async def mend_documents(
    means: Means,
    projection: DocumentProjection,
    generation: Generation,
    parked: Parked,
    events: Sequence[Event],
    rest: Event | None,
) -> Mended:
    """Apply what waits of a stream, in order; `rest` is the event after `events`, where it goes on later.

    Raises `Conflict` as above.
    """
    now_us = means.now_us()
    wished = [event for event in events if is_wanted(event, projection)]
    wished, keys = await _keys(projection, wished)
    if len(keys) < len(wished):
        rest = wished[len(keys)]
    folding = await _folding(means, generation, wished, keys)
    reason: str | None = None
    left: Parked | None = None
    if rest is not None:
        place = {"version": rest.version, "position": rest.position, "event_type": rest.type}
        left = replace(parked, **place, attempts=0, retry_us=now_us)
    for event, known in zip(wished, keys, strict=False):
        reason = folding.apply(projection, event, known)
        if reason is None:
            continue
        if event.version == parked.version:
            left = failed_again(parked, reason, now_us=now_us, policy=means.policy, rng=means.rng)
        else:
            left = failed_first(generation.pk, event, reason, now_us=now_us, policy=means.policy, rng=means.rng)
        break
    await means.database.write(
        cas(generation, now_us=now_us, applied=folding.applied, failures=int(reason is not None)),
        *keep_documents(generation.pk, folding.changes),
        *(keep_parked([left]) if left is not None else [forget_parked(parked)]),
    )
    return Mended(folding.applied, left, reason)


async def _keys(
    projection: DocumentProjection, events: Sequence[Event]
) -> tuple[Sequence[Event], Sequence[Sequence[bytes] | Exception]]:
    """The keys of each event, or why they cannot be told; fewer than there are events when they are too many."""
    keys: list[Sequence[bytes] | Exception] = []
    different: set[tuple[str, bytes]] = set()
    for number, event in enumerate(events):
        if number % _BREATH == 0:
            await anyio.lowlevel.checkpoint()
        try:
            some = keys_of(projection, event)
        except Exception as error:  # noqa: BLE001 - whatever a projection raises is a failure of this event
            keys.append(error)
            continue
        different.update((event.tenant, key) for key in some)
        if len(different) > _MOST_KEYS and keys:
            break
        keys.append(some)
    return events, keys


async def _folding(
    means: Means, generation: Generation, events: Sequence[Event], keys: Sequence[Sequence[bytes] | Exception]
) -> _Folding:
    wanted = {
        (event.tenant, key): None
        for event, some in zip(events, keys, strict=False)
        if not isinstance(some, Exception)
        for key in some
    }
    return _Folding(dict(await read_documents(means.database, generation.pk, wanted)))


async def _stale(
    means: Means, projection: DocumentProjection, generation: Generation, events: Sequence[Event]
) -> str | None:
    """Why the documents have to be built anew: they hold what was erased after this generation had begun."""
    if generation.stale is not None or projection.only_envelopes:
        return None
    for event in events:
        if event.type != ERASED or event.position <= generation.born_position:
            continue
        if await is_touched_by_erasure(means.log, projection, event):
            return f"events of stream {event.data.get('stream')!s:.200} were erased"
    return None
