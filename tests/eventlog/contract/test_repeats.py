"""Repeats that are hard to see, on every store: beside other repeats, and after what they repeat was truncated."""

from uuid import uuid4

import pytest

from eventlog.aggregates.generic import generic
from eventlog.aggregates.repository import Repository
from eventlog.conflict import IdTaken, WrongVersion
from eventlog.event import ANY, NO_STREAM, Append, Appended, NewEvent, StreamId
from eventlog.keeping.truncate import truncate_before
from eventlog.keeping.verify import verify
from eventlog.log import EventLog

ORDERS = generic("order")


def one() -> NewEvent:
    return NewEvent("order.placed", {"n": 1}, event_id=str(uuid4()))


async def truncated(log: EventLog, stream: StreamId) -> list[NewEvent]:
    """Two events that are gone from the stream, which goes on with a third."""
    gone = [one(), one()]
    await log.append_to(stream, gone)
    await log.append_to(stream, [one()])
    await Repository(log, ORDERS).take_snapshot(stream)
    await truncate_before(log, stream, 3, aggregate=ORDERS)
    return gone


async def test_a_repeat_in_the_batch_that_makes_another_version_wrong_is_seen_through(
    log: EventLog, orders: StreamId
) -> None:
    old, new = one(), one()
    await log.append_to(orders, [old])
    # Taken for new, the second `new` would bring the stream to version 3, at which `old` wants it now.
    outcomes = await log.append(
        [
            Append(StreamId("acme", "order-2"), [one()], expected=9),
            Append(orders, [new]),
            Append(orders, [new]),
            Append(orders, [old], expected=3),
        ]
    )
    assert isinstance(outcomes[0], WrongVersion)
    appended = [each for each in outcomes[1:] if isinstance(each, Appended)]
    assert [(each.is_repeat, each.position) for each in appended] == [(False, 2), (True, 2), (True, 1)]
    assert (await log.head()).position == 2


@pytest.mark.parametrize("expected", [ANY, NO_STREAM, 3])
async def test_a_repeat_of_what_was_truncated_is_answered_as_the_first_time(
    log: EventLog, orders: StreamId, expected: int | None
) -> None:
    gone = await truncated(log, orders)
    again = await log.append_to(orders, gone, expected=expected)
    assert again.is_repeat
    assert (again.first_version, again.version, again.position) == (1, 2, 2)
    assert (await log.head()).position == 3
    assert (await verify(log)).is_sound


async def test_ids_of_truncated_events_are_not_free_for_others(log: EventLog, orders: StreamId) -> None:
    first, second = await truncated(log, orders)
    for stream, events in [(orders, [second, one()]), (StreamId("other tenant", "order-9"), [first])]:
        with pytest.raises(IdTaken):
            await log.append_to(stream, events)
    beside = await log.append([Append(orders, [first]), Append(StreamId("acme", "order-2"), [one()])])
    assert [isinstance(each, Appended) and each.is_repeat for each in beside] == [True, False]
    assert (await log.head()).position == 4
