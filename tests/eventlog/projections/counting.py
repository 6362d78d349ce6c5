"""A projection for tests that shows every mistake: each document is the list of what was applied, in order."""

import json
import random
from collections.abc import Sequence
from typing import cast

from eventlog.event import Event, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.projections.decide import Policy
from eventlog.projections.fold import Sandbox
from eventlog.projections.projection import Document, DocumentProjection, Projection
from eventlog.projections.tables import Shelf, load_shelf
from eventlog.projections.work import Means
from eventlog.projections.worker import Turn, Worker
from stoa.clock import Clock, ManualClock
from stoa.resilience.backoff import Backoff

__all__ = [
    "POLICY",
    "SEEN",
    "append",
    "documents_of",
    "folded",
    "make_worker",
    "served",
    "settle",
    "shelf_of",
    "versioned",
]

POLICY = Policy(batch=10, max_attempts=3, backoff=Backoff(first_seconds=1, factor=2, most_seconds=8), clear_documents=3)
STREAMS = tuple(StreamId("acme", f"order-{number}") for number in range(4))


def _keys(event: Event) -> list[str]:
    return [event.stream.aggregate_id]


def _seen(key: str, document: Document | None, event: Event) -> Document | None:
    document = document or {"versions": []}
    document["versions"].append(event.version)
    if event.data.get("is_poison"):
        raise ValueError(f"cannot swallow {event.data}")
    if event.type == "order.removed":
        return None
    return document


def versioned(version: int, *, name: str = "seen") -> DocumentProjection:
    return DocumentProjection(name=name, version=version, types=("order.*",), keys=_keys, apply=_seen)


SEEN = versioned(1)


def make_worker(
    log: EventLog,
    projection: Projection = SEEN,
    *,
    clock: Clock | None = None,
    owner: str = "a",
    policy: Policy = POLICY,
) -> Worker:
    return Worker(Means(log, owner, clock or ManualClock(), random.Random(1), policy), projection)


async def settle(worker: Worker, *, most: int = 500) -> Turn:
    """Turns until there is nothing more to do."""
    for _ in range(most):
        turn = await worker.turn()
        if turn.is_over:
            return turn
    raise AssertionError(f"{worker} does not come to rest")


async def append(log: EventLog, stream: StreamId | str, count: int = 1, **data: object) -> int:
    """The position of the last one."""
    if isinstance(stream, str):
        stream = StreamId("acme", stream)
    events = [NewEvent("order.placed", data) for _ in range(count)]
    return (await log.append_to(stream, events)).position


async def served(log: EventLog, name: str = "seen") -> dict[tuple[str, str], Document]:
    """All documents of all tenants, by tenant and key, straight from the table."""
    rows = await log.database.fetch(
        "SELECT tenant, key, document FROM projection_document WHERE generation ="
        " (SELECT pk FROM projection_generation WHERE name = $1 AND state = 'serving')",
        name,
    )
    documents = cast("Sequence[tuple[str, bytes, bytes]]", rows)
    return {(tenant, key.decode()): json.loads(document) for tenant, key, document in documents}


async def documents_of(log: EventLog, name: str = "seen") -> dict[tuple[str, str], list[int]]:
    """Versions by tenant and key, as they are served."""
    return {place: document["versions"] for place, document in (await served(log, name)).items()}


async def folded(log: EventLog, projection: DocumentProjection = SEEN) -> dict[tuple[str, str], list[int]]:
    """What a plain fold of the log makes of it."""
    sandbox = Sandbox(projection)
    after = 0
    while events := await log.read_all(after):
        for event in events:
            sandbox.apply(event)
        after = events[-1].position
    return {place: document["versions"] for place, document in sandbox.all_documents().items()}


async def shelf_of(log: EventLog, name: str = "seen") -> Shelf:
    shelf = await load_shelf(log.database, name)
    assert shelf is not None
    return shelf
