"""What is handed in together is appended in its order, on every store: also where it goes in several commits, of which
one has to be done twice because of a repeat."""

from uuid import uuid4

import anyio

from eventlog.event import Append, Appended, NewEvent, StreamId
from eventlog.log import EventLog

MANY = 1_000


def events(stream: StreamId, number: int) -> Append:
    """So many that the writer takes the call in parts."""
    return Append(stream, [NewEvent("order.placed", {"n": number})] * MANY, expected=number * MANY)


async def test_what_is_handed_in_together_is_appended_in_its_order(log: EventLog, orders: StreamId) -> None:
    known = Append(StreamId("acme", "order-2"), [NewEvent("order.placed", {}, event_id=str(uuid4()))])
    await log.append([known])
    with anyio.fail_after(30):
        outcomes = await log.append([known, *(events(orders, number) for number in range(5))])
    appended = [each for each in outcomes if isinstance(each, Appended)]
    assert [each.is_repeat for each in appended] == [True] + [False] * 5
    assert [each.version for each in appended[1:]] == [MANY * number for number in range(1, 6)]
    assert [each.position for each in appended] == [1] + [MANY * number + 1 for number in range(1, 6)]
