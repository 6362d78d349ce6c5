"""Reading: streams and the whole log, both ways, through filters, page by page."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from eventlog.chain import START
from eventlog.event import EVERYTHING, Append, Event, Filter, Metadata, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.log import EventLog
from eventlog.schemas import EventType, TypeRegistry
from stoa.clock import ManualClock
from stoa.errors import BadInput, NotFound, StoaError
from tests.eventlog.conftest import OpenLog

ACME, OTHER = StreamId("acme", "order-1"), StreamId("other", "order-1")


def positions(events: Sequence[Event]) -> list[int]:
    return [event.position for event in events]


async def fill(log: EventLog) -> None:
    """Positions 1 to 12: tenants, types and correlation ids by turns."""
    for n in range(6):
        run = Metadata(correlation_id=f"run-{n % 2}")
        await log.append(
            [
                Append(StreamId("acme", f"order-{n % 3}"), [NewEvent("order.placed", {"n": n}, run)]),
                Append(StreamId("other", f"invoice-{n % 3}"), [NewEvent("invoice.sent", {"n": n}, run)]),
            ]
        )


async def test_a_stream_is_read_in_order_in_part_and_backwards(log: EventLog) -> None:
    await log.append_to(OTHER, [NewEvent("order.placed", {})])
    await log.append_to(ACME, [NewEvent("order.changed", {"n": n}) for n in range(1, 11)])

    async def versions(**options: object) -> list[int]:
        return [event.version for event in await log.read_stream(ACME, **options)]  # pyright: ignore[reportArgumentType] - options by name

    assert await versions() == list(range(1, 11))
    assert await versions(from_version=4, to_version=6) == [4, 5, 6]
    assert await versions(from_version=4, limit=2) == [4, 5]
    assert await versions(backwards=True, limit=3) == [10, 9, 8]
    assert await versions(backwards=True, from_version=2, to_version=4) == [4, 3, 2]
    assert await versions(from_version=11) == []
    assert {event.tenant for event in await log.read_stream(ACME)} == {"acme"}


async def test_an_unknown_stream_is_not_found_and_neither_is_that_of_another_tenant(log: EventLog) -> None:
    await log.append_to(ACME, [NewEvent("order.placed", {})])
    for stream in (StreamId("acme", "order-2"), OTHER, StreamId("nobody", "order-1")):
        with pytest.raises(NotFound, match=stream.name):
            await log.read_stream(stream)
        with pytest.raises(NotFound, match=stream.name):
            await log.stream_info(stream)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (EVERYTHING, range(1, 13)),
        (Filter(tenant="acme"), range(1, 13, 2)),
        (Filter(tenant="nobody"), ()),
        (Filter(types=("order.placed",)), range(1, 13, 2)),
        (Filter(types=("order.*",)), range(1, 13, 2)),
        (Filter(types=("ord.*", "order.place")), ()),
        (Filter(types=("order.placed", "invoice.*")), range(1, 13)),
        (Filter(tenant="other", types=("order.placed", "invoice.sent")), range(2, 13, 2)),
        (Filter(tenant="acme", types=("invoice.*",)), ()),
        (Filter(stream_prefix="order-"), range(1, 13, 2)),
        (Filter(stream_prefix="order-1"), (3, 9)),
        (Filter(tenant="other", stream_prefix="order-1"), ()),
        (Filter(correlation_id="run-1"), (3, 4, 7, 8, 11, 12)),
        (Filter(tenant="acme", correlation_id="run-1"), (3, 7, 11)),
        (Filter(tenant="acme", types=("order.*",), stream_prefix="order-2", correlation_id="run-1"), (11,)),
    ],
    ids=str,
)
async def test_a_filter_lets_through_what_meets_all_its_conditions(
    log: EventLog, filter: Filter, expected: Sequence[int]
) -> None:
    await fill(log)
    wanted = list(expected)
    assert positions(await log.read_all(filter=filter)) == wanted
    assert positions(await log.read_all(filter=filter, backwards=True)) == wanted[::-1]
    assert positions(await log.read_all(3, filter=filter, until=9)) == [each for each in wanted if 3 < each < 9]
    assert (
        positions(await log.read_all(3, filter=filter, until=9, backwards=True, limit=2))
        == [each for each in wanted[::-1] if 3 < each < 9][:2]
    )


async def test_page_by_page_everything_comes_once(log: EventLog) -> None:
    await fill(log)
    for filter in (EVERYTHING, Filter(tenant="acme"), Filter(tenant="acme", types=("order.placed",))):
        whole = positions(await log.read_all(filter=filter))
        forwards: list[int] = []
        while page := await log.read_all(forwards[-1] if forwards else 0, filter=filter, limit=5):
            forwards += positions(page)
        backwards: list[int] = []
        until = None
        while page := await log.read_all(filter=filter, limit=5, backwards=True, until=until):
            backwards += positions(page)
            until = backwards[-1]
        assert forwards == whole
        assert backwards == whole[::-1]


async def test_a_range_of_time_includes_its_beginning_and_not_its_end(open_a_log: OpenLog) -> None:
    clock = ManualClock()
    async with open_a_log(None, clock) as log:
        for _ in range(5):
            await log.append_to(ACME, [NewEvent("order.changed", {})])
            clock.advance(60)
        since, until = clock.at + timedelta(minutes=1), clock.at + timedelta(minutes=3)
        assert positions(await log.read_all(filter=Filter(since=since, until=until))) == [2, 3]
        assert positions(await log.read_all(filter=Filter(tenant="acme", since=until))) == [4, 5]
        assert await log.position_at(until) == 4
        assert await log.position_at(until - timedelta(microseconds=1)) == 3
        assert await log.position_at(clock.at - timedelta(days=1)) == 0
        assert await log.position_at(clock.now()) == 5


async def test_streams_are_told_of_and_listed(open_a_log: OpenLog) -> None:
    clock = ManualClock()
    async with open_a_log(None, clock) as log:
        await log.append_to(ACME, [NewEvent("order.placed", {}), NewEvent("order.paid", {})])
        clock.advance(5)
        await log.append_to(ACME, [NewEvent("order.shipped", {})])
        info = await log.stream_info(ACME)
        assert (info.stream, info.version, info.first_version, info.last_position) == (ACME, 3, 1, 3)
        assert (info.created_at, info.updated_at) == (clock.at, clock.now())

        names = ["invoice-7", "order-10", "order-2", "order-B", "order-a", "order-ä"]
        await log.append([Append(StreamId("acme", name), [NewEvent("order.placed", {})]) for name in names])
        await log.append_to(OTHER, [NewEvent("order.placed", {})])

        async def listed(tenant: str = "acme", prefix: str = "", after: str = "", limit: int = 100) -> list[str]:
            return [
                each.stream.name for each in await log.list_streams(tenant, prefix=prefix, after=after, limit=limit)
            ]

        assert await listed() == sorted([*names, "order-1"])
        assert await listed(prefix="order-") == sorted([*names[1:], "order-1"])
        assert await listed(prefix="order-", after="order-10", limit=2) == ["order-2", "order-B"]
        assert await listed("other") == ["order-1"]
        assert await listed("nobody") == []


async def test_the_head_and_checkpoints_name_the_log_and_the_event(log: EventLog) -> None:
    head = await log.head()
    assert (head.position, head.recorded_at.year) == (0, 1970)
    start = await log.checkpoint(0)
    assert (start.position, start.checksum, start.epoch) == (0, START, head.epoch)

    await fill(log)
    head = await log.head()
    assert head.position == 12
    (seventh,) = await log.read_all(6, limit=1)
    checkpoint = await log.checkpoint(7)
    assert (checkpoint.position, checkpoint.checksum, checkpoint.epoch) == (7, seventh.checksum, head.epoch)
    with pytest.raises(NotFound):
        await log.checkpoint(13)


async def test_older_data_is_brought_up_and_kept_as_it_was_written(open_a_log: OpenLog) -> None:
    types = TypeRegistry(
        [EventType("order.placed", version=2, upcasters={1: lambda data: {**data, "currency": "EUR"}})]
    )
    async with open_a_log(types, None) as log:
        await log.append_to(ACME, [NewEvent("order.placed", {"a": 1}, schema_version=1), NewEvent("order.placed", {})])
        old, new = await log.read_stream(ACME)
    assert (old.schema_version, old.data, old.stored_data) == (1, {"a": 1, "currency": "EUR"}, b'{"a":1}')
    assert (new.schema_version, new.data) == (2, {})


async def test_what_is_about_a_subject_lies_sealed_and_reads_open(log: EventLog) -> None:
    await log.append_to(
        ACME, [NewEvent("order.placed", {"name": "Joe Bloggs"}, subject="joe"), NewEvent("order.paid", {})]
    )
    first, second = await log.read_stream(ACME)
    assert (first.data, first.is_personal, second.is_personal) == ({"name": "Joe Bloggs"}, True, False)
    ((data, subject),) = await log.database.fetch("SELECT data, subject FROM event WHERE position = 1")
    assert isinstance(data, bytes)
    assert b"Joe" not in data
    assert subject not in (None, b"joe")


async def test_without_keys_sealed_data_is_not_said_to_be_erased(log: EventLog) -> None:
    await log.append_to(ACME, [NewEvent("order.paid", {}), NewEvent("order.placed", {"name": "Joe"}, subject="joe")])
    without = EventLog(log.store)
    (open_one,) = await without.read_all(limit=1)
    assert not open_one.is_erased
    with pytest.raises(BadInput, match="opened without their keys"):
        await without.read_all()
    with pytest.raises(BadInput, match="opened without their keys"):
        await without.read_stream(ACME)
    await erase(log, ACME)
    assert [event.is_erased for event in await without.read_all(limit=2)] == [True, True]


@pytest.mark.parametrize(
    "filter",
    [
        Filter(types=("Order.*",)),
        Filter(types=("order*",)),
        Filter(types=("*",)),
        Filter(types=("order",)),
        Filter(types=("order.placed",) * 201),
        Filter(tenant=""),
        Filter(tenant="a\nb"),
        Filter(stream_prefix=""),
        Filter(stream_prefix="x" * 1000),
        Filter(correlation_id="\0"),
        Filter(since=datetime(2026, 1, 2, tzinfo=UTC), until=datetime(2026, 1, 2, tzinfo=UTC)),
        Filter(since=datetime(2026, 1, 2)),  # noqa: DTZ001 - that is the fault
    ],
    ids=lambda filter: ascii(filter)[:60],
)
async def test_an_impossible_filter_is_refused(log: EventLog, filter: Filter) -> None:
    with pytest.raises(BadInput) as raised:
        await log.read_all(filter=filter)
    assert raised.value.hint
    with pytest.raises(BadInput):
        log.follow(0, filter=filter)


async def test_impossible_pages_are_refused(log: EventLog) -> None:
    await log.append_to(ACME, [NewEvent("order.placed", {})])
    for wrong in (
        log.read_all(limit=0),
        log.read_all(limit=10_001),
        log.read_all(-1),
        log.read_all(until=-1),
        log.read_all(2**63),
        log.read_stream(ACME, limit=0),
        log.read_stream(ACME, from_version=-1),
        log.read_stream(ACME, from_version=5, to_version=4),
        log.read_stream(StreamId("acme", "no name")),
        log.list_streams("", limit=1),
        log.checkpoint(-1),
        log.position_at(datetime(2026, 1, 1)),  # noqa: DTZ001 - that is the fault
    ):
        with pytest.raises(StoaError) as raised:
            await wrong
        assert isinstance(raised.value, BadInput)


async def test_a_page_of_large_events_is_bounded_in_bytes_and_nothing_is_left_out(log: EventLog) -> None:
    for n in range(7):
        events = [NewEvent("order.changed", {"n": 10 * n + m, "text": "x" * 1_000_000}) for m in range(10)]
        await log.append_to(ACME, events)
    for filter in (EVERYTHING, Filter(tenant="acme")):
        for backwards in (False, True):
            seen: list[int] = []
            pages = 0
            while page := await log.read_all(
                seen[-1] if seen and not backwards else 0,
                filter=filter,
                backwards=backwards,
                until=seen[-1] if seen and backwards else None,
            ):
                assert sum(len(event.stored_data or b"") for event in page) <= 32 * 2**20
                seen += positions(page)
                pages += 1
            assert seen == (list(range(70, 0, -1)) if backwards else list(range(1, 71)))
            assert 3 <= pages <= 5
    versions: list[int] = []
    while page := await log.read_stream(ACME, from_version=len(versions) + 1):
        assert len(page) <= 33
        versions += [event.version for event in page]
    assert versions == list(range(1, 71))
