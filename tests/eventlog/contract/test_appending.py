"""What an append promises, on every store."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import anyio
import pytest

from eventlog.chain import START, checksum, digest, envelope_tail
from eventlog.conflict import IdTaken, WrongVersion
from eventlog.event import NO_STREAM, Append, Appended, Metadata, NewEvent, StreamId
from eventlog.log import EventLog
from stoa.clock import ManualClock
from stoa.errors import BadInput, Conflict
from tests.eventlog.conftest import OpenLog


def is_kept(log: EventLog) -> bool:
    return "in memory" not in repr(log.database)


def placed(**data: object) -> NewEvent:
    return NewEvent("order.placed", data)


async def test_versions_and_positions_begin_at_one_and_have_no_gap(log: EventLog, orders: StreamId) -> None:
    first = await log.append_to(orders, [placed(n=1), placed(n=2)])
    second = await log.append_to(StreamId("acme", "order-2"), [placed(n=3)])
    third = await log.append_to(orders, [placed(n=4)])

    assert (first.first_version, first.version, first.position) == (1, 2, 2)
    assert (second.first_version, second.version, second.position) == (1, 1, 3)
    assert (third.first_version, third.version, third.position) == (3, 3, 4)
    assert [(event.position, event.version, event.data["n"]) for event in await log.read_all()] == [
        (1, 1, 1),
        (2, 2, 2),
        (3, 1, 3),
        (4, 3, 4),
    ]


async def test_an_event_comes_back_as_it_was_given(log: EventLog, orders: StreamId) -> None:
    metadata = Metadata("run-7", "cause-1", "ann", "shop", f"00-{'a' * 32}-{'b' * 16}-01", ("vip", "späť"))
    event_id, at = str(uuid4()), datetime(2020, 2, 29, 12, 30, 15, 123457, UTC)
    data: dict[str, object] = {
        "text": "ä\u0000€😀",
        "list": [1, 2.5, None, True, {"deep": [0]}],
        "big": 2**64 - 1,
        "": {},
    }

    await log.append_to(orders, [NewEvent("order.placed", data, metadata, event_id, at, schema_version=3)])

    (event,) = await log.read_stream(orders)
    assert (event.stream, event.type, event.schema_version) == (orders, "order.placed", 3)
    assert event.event_id == event_id
    assert (event.data, event.metadata) == (data, metadata)
    assert event.occurred_at == at
    assert not event.is_erased


async def test_without_an_id_a_fresh_one_is_made_that_sorts_by_time(log: EventLog, orders: StreamId) -> None:
    done = await log.append_to(orders, [placed() for _ in range(50)])
    assert list(done.event_ids) == sorted(set(done.event_ids))
    assert {UUID(each).version for each in done.event_ids} == {7}
    assert [event.event_id for event in await log.read_stream(orders)] == list(done.event_ids)


async def test_a_wrong_expected_version_is_a_conflict_that_names_the_actual_one(
    log: EventLog, orders: StreamId
) -> None:
    await log.append_to(orders, [placed(), placed()], expected=NO_STREAM)
    for expected in (0, 1, 3, 99):
        with pytest.raises(WrongVersion) as raised:
            await log.append_to(orders, [placed()], expected=expected)
        assert (raised.value.expected, raised.value.actual) == (expected, 2)
    with pytest.raises(WrongVersion, match="does not exist") as raised:
        await log.append_to(StreamId("acme", "order-new"), [placed()], expected=1)
    assert raised.value.actual == 0
    assert (await log.head()).position == 2
    assert (await log.append_to(orders, [placed()], expected=2)).version == 3


async def test_one_conflict_does_not_hold_up_the_others(log: EventLog, orders: StreamId) -> None:
    other = StreamId("acme", "order-2")
    outcomes = await log.append(
        [
            Append(orders, [placed()], expected=NO_STREAM),
            Append(orders, [placed()], expected=NO_STREAM),
            Append(other, [placed(), placed()], expected=NO_STREAM),
            Append(orders, [placed()], expected=1),
        ]
    )
    assert [isinstance(each, Appended) for each in outcomes] == [True, False, True, True]
    assert isinstance(outcomes[1], WrongVersion)
    assert outcomes[1].actual == 1
    assert [(event.stream.name, event.version) for event in await log.read_all()] == [
        (orders.name, 1),
        (other.name, 1),
        (other.name, 2),
        (orders.name, 2),
    ]


async def test_of_writers_that_expect_the_same_version_one_wins(log: EventLog, orders: StreamId) -> None:
    outcomes: list[object] = []

    async def write(number: int) -> None:
        outcomes.extend(await log.append([Append(orders, [placed(n=number)], expected=NO_STREAM)]))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(write, number)
    assert sum(isinstance(each, Appended) for each in outcomes) == 1
    assert sum(isinstance(each, WrongVersion) for each in outcomes) == 19
    assert len(await log.read_stream(orders)) == 1


async def test_bad_input_in_one_append_refuses_the_whole_call(log: EventLog, orders: StreamId) -> None:
    with pytest.raises(BadInput, match=r"order-2.*price"):
        await log.append(
            [
                Append(orders, [placed()]),
                Append(StreamId("acme", "order-2"), [placed(), NewEvent("order.placed", {"price": float("nan")})]),
            ]
        )
    assert (await log.head()).position == 0


async def test_the_same_ids_again_get_the_first_answer(log: EventLog, orders: StreamId) -> None:
    events = [NewEvent("order.placed", {}, event_id=str(uuid4())) for _ in range(3)]
    first = await log.append_to(orders, events, expected=NO_STREAM)
    await log.append_to(orders, [placed()])
    for expected in (NO_STREAM, None, 4, 77):
        again = await log.append_to(orders, events, expected=expected)
        assert again.is_repeat
        assert (again.first_version, again.version, again.position) == (1, 3, 3)
        assert again.event_ids == first.event_ids
    assert (await log.head()).position == 4


async def test_the_same_ids_twice_in_one_call_are_appended_once(log: EventLog, orders: StreamId) -> None:
    append = Append(orders, [NewEvent("order.placed", {}, event_id=str(uuid4())) for _ in range(2)], expected=0)
    other = Append(StreamId("acme", "order-2"), [placed()])
    first, second, third = await log.append([append, append, other])
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    assert isinstance(third, Appended)
    assert (first.is_repeat, second.is_repeat, third.is_repeat) == (False, True, False)
    assert (second.first_version, second.version, second.position) == (1, 2, 2)
    assert third.position == 3


async def test_ids_that_belong_to_other_events_are_a_conflict(log: EventLog, orders: StreamId) -> None:
    a, b, c = (NewEvent("order.placed", {}, event_id=str(uuid4())) for _ in range(3))
    other = StreamId("other tenant", "order-9")
    await log.append_to(orders, [a, b])
    cases = [(orders, [a, c]), (orders, [c, b]), (orders, [b, a]), (other, [a, b]), (other, [c, a])]
    for stream, events in cases:
        with pytest.raises(IdTaken) as raised:
            await log.append_to(stream, events)
        assert isinstance(raised.value, Conflict)
        assert orders.name not in str(raised.value).replace(stream.name, "")  # not where the other one is
    assert (await log.head()).position == 2
    assert (await log.append_to(orders, [b])).is_repeat
    assert (await log.append_to(other, [c])).position == 3


async def test_repeats_do_not_hold_up_the_others(log: EventLog, orders: StreamId) -> None:
    known = [NewEvent("order.placed", {}, event_id=str(uuid4()))]
    await log.append_to(orders, known)
    outcomes = await log.append(
        [Append(StreamId("acme", f"order-{n}"), [placed()]) for n in range(5)] + [Append(orders, known)]
    )
    assert [isinstance(each, Appended) and each.is_repeat for each in outcomes] == [False] * 5 + [True]
    assert (await log.head()).position == 6


async def test_the_checksums_of_a_stream_are_a_chain(log: EventLog, orders: StreamId) -> None:
    for n in range(3):
        await log.append_to(orders, [placed(n=n), NewEvent("order.paid", {"n": n}, Metadata("run-1"))])
        await log.append_to(StreamId("acme", "order-2"), [placed()])
    rows = await log.database.fetch("SELECT position, salt, data, metadata FROM event ORDER BY position")
    stored = {row[0]: row for row in rows}
    before = START
    for event in await log.read_stream(orders):
        _, salt, data, metadata = stored[event.position]
        assert isinstance(salt, bytes)
        assert isinstance(data, bytes)
        assert isinstance(metadata, bytes)
        before = checksum(
            before,
            digest(salt, data, metadata),
            position=event.position,
            version=event.version,
            schema_version=event.schema_version,
            occurred_us=event.occurred_us,
            recorded_us=event.recorded_us,
            event_id=UUID(event.event_id).bytes,
            tail=envelope_tail(event.tenant, event.stream.name, event.type),
        )
        assert event.checksum == before
    assert (await log.stream_info(orders)).checksum == before


async def test_recorded_time_never_goes_back_when_the_clock_does(open_a_log: OpenLog, orders: StreamId) -> None:
    clock = ManualClock()
    async with open_a_log(None, clock) as log:
        await log.append_to(orders, [placed()])
        clock.advance(-3600)
        await log.append_to(orders, [placed()])
        clock.advance(7200)
        await log.append_to(orders, [placed()])
        recorded = [event.recorded_at for event in await log.read_stream(orders)]
    assert recorded == [clock.at, clock.at, clock.at + timedelta(hours=1)]


async def test_a_megabyte_is_taken_and_a_byte_more_is_refused(log: EventLog, orders: StreamId) -> None:
    largest = "x" * (2**20 - len('{"text":""}'))
    await log.append_to(orders, [placed(text=largest)])
    with pytest.raises(BadInput, match="1,048,577 bytes"):
        await log.append_to(orders, [placed(text=largest + "x")])
    (event,) = await log.read_stream(orders)
    assert event.data["text"] == largest


async def test_too_many_bytes_in_one_append_are_refused(log: EventLog, orders: StreamId) -> None:
    with pytest.raises(BadInput, match="16,777,216"):
        await log.append_to(orders, [placed(text="x" * 1_000_000) for _ in range(17)])
    assert (await log.head()).position == 0


async def test_a_log_that_is_opened_again_goes_on_where_it_was(open_a_log: OpenLog, orders: StreamId) -> None:
    async with open_a_log(None, None) as log:
        await log.append_to(orders, [placed()])
        before = await log.head()
    async with open_a_log(None, None) as log:
        head = await log.head()
        if is_kept(log):
            assert head == before
            assert (await log.append_to(orders, [placed()], expected=1)).position == 2
        else:  # in memory: another log, and a reader can tell
            assert head.position == 0
            assert head.epoch != before.epoch


@pytest.mark.slow
async def test_a_stream_takes_a_hundred_thousand_events(log: EventLog, orders: StreamId) -> None:
    with anyio.fail_after(100):
        for n in range(100):
            await log.append_to(orders, [placed(n=n) for _ in range(1_000)], expected=n * 1_000)
        assert (await log.stream_info(orders)).version == 100_000
        (last,) = await log.read_stream(orders, backwards=True, limit=1)
        assert last.version == 100_000
        middle = await log.read_stream(orders, from_version=50_001, limit=10)
        assert [event.version for event in middle] == list(range(50_001, 50_011))
