"""A small log with everything in it, and how rows are changed behind its back."""

from collections.abc import Sequence

from eventlog.aggregates.aggregate import Aggregate
from eventlog.aggregates.generic import generic
from eventlog.aggregates.repository import Repository
from eventlog.database import Statement, Value
from eventlog.event import Metadata, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.keeping.truncate import truncate_before
from eventlog.log import EventLog

ORDER = StreamId("acme", "order-1")
PERSON = StreamId("acme", "person-7")
OTHER = StreamId("other", "order-1")
ORDERS: Aggregate[dict[str, object]] = generic("order")


def placed(number: int, **more: object) -> NewEvent:
    metadata = Metadata(correlation_id=f"c-{number}", principal="ann") if number % 2 else Metadata()
    return NewEvent("order.placed", {"number": number, **more}, metadata)


def known(number: int, subject: str = "bob") -> NewEvent:
    return NewEvent("person.known", {"name": subject, "number": number}, subject=subject)


async def fill(log: EventLog, stream: StreamId, count: int = 5) -> None:
    await log.append_to(stream, [placed(number) for number in range(count)])


async def everything(log: EventLog) -> None:
    """Two tenants; events that are plain, sealed, erased and truncated, in streams that take turns."""
    for number in range(4):
        await log.append_to(ORDER, [placed(number)])
        await log.append_to(OTHER, [placed(number, mine="other's")])
        await log.append_to(PERSON, [known(number)])
    await erase(log, OTHER, [2])
    await truncate(log, ORDER, 3)


async def truncate(log: EventLog, stream: StreamId, version: int) -> int:
    await Repository(log, ORDERS).take_snapshot(stream)
    return (await truncate_before(log, stream, version, aggregate=ORDERS)).events


async def change(log: EventLog, sql: str, *values: Value) -> None:
    """Exactly one row, behind the log's back."""
    await log.database.write(Statement(sql, [values], must_change=1))


async def rows(log: EventLog, sql: str, *values: Value) -> Sequence[Sequence[Value]]:
    return [tuple(row) for row in await log.database.fetch(sql, *values)]
