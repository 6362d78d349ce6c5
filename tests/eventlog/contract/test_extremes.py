"""Numbers, times and text at and beyond the edge of what there is: refused with a word, or read back like the rest."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from eventlog.event import NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.types_used import types_used
from stoa.errors import BadInput

FIRST, LAST = datetime.min, datetime.max  # noqa: DTZ901 - the zones come below


@pytest.mark.parametrize(
    "at",
    [FIRST.replace(tzinfo=timezone(timedelta(hours=14))), LAST.replace(tzinfo=timezone(timedelta(hours=-14)))],
)
async def test_a_time_that_nobody_could_read_back_is_refused(log: EventLog, orders: StreamId, at: datetime) -> None:
    with pytest.raises(BadInput, match="years 1 to 9999"):
        await log.append_to(orders, [NewEvent("order.placed", {}, occurred_at=at)])
    assert (await log.head()).position == 0


@pytest.mark.parametrize("at", [FIRST.replace(tzinfo=UTC), LAST.replace(tzinfo=UTC)])
async def test_the_first_and_the_last_time_there_is_are_read_back(
    log: EventLog, orders: StreamId, at: datetime
) -> None:
    await log.append_to(orders, [NewEvent("order.placed", {}, occurred_at=at)])
    (event,) = await log.read_stream(orders)
    assert event.as_json()["occurred_at"] == at.isoformat()


@pytest.mark.parametrize("number", [2**62 + 1, 2**63, 2**64, 10**100])
async def test_versions_beyond_all_numbers_of_a_database_are_refused(
    log: EventLog, orders: StreamId, number: int
) -> None:
    await log.append_to(orders, [NewEvent("order.placed", {})])
    with pytest.raises(BadInput, match="no versions"):
        await log.read_stream(orders, from_version=number)
    with pytest.raises(BadInput, match="no versions"):
        await log.read_stream(orders, to_version=number)


@pytest.mark.parametrize("prefix", ["\ud800", "\x00", "order-\x00", "order-\udfff"])
async def test_no_name_begins_with_what_is_no_text_to_a_database(log: EventLog, orders: StreamId, prefix: str) -> None:
    await log.append_to(orders, [NewEvent("order.placed", {})])
    assert await log.list_streams(orders.tenant, prefix=prefix) == []
    assert await types_used(log, orders.tenant, prefix=prefix) == []
