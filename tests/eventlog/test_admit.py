"""What is malformed is refused with its place, before anything waits or is written: the same for every store."""

import math
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from eventlog.event import Append, Metadata, NewEvent, StreamId
from eventlog.log import EventLog
from eventlog.open import open_memory
from eventlog.schemas import EventType, TypeRegistry
from stoa.errors import BadInput

ORDER = StreamId("acme", "order-1")


@pytest.fixture
async def log() -> AsyncGenerator[EventLog]:
    async with open_memory() as opened:
        yield opened


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels - 1):
        data = {"in": data}
    return data


BAD_DATA: list[tuple[Any, str]] = [
    ({"a": {"b": [1, float("nan")]}}, r"\$\.a\.b\[1\] is nan"),
    ({"a": math.inf, "b": None}, r"\$\.a is inf"),
    ({"n": 2**64}, r"\$\.n is a whole number of more than 64 bits"),
    ({"n": -(2**63) - 1}, r"\$\.n is a whole number"),
    ({"t": "half \ud83d"}, r"\$\.t is text with half a character"),
    ({"half \ud83d": 1}, r"key .*half a character"),
    ({"a": {1: 2}}, r"\$\.a has the key 1"),
    ({"a": {"at": datetime(2026, 1, 1)}}, r"\$\.a\.at is a datetime"),  # noqa: DTZ001 - any will do
    ({"a": {1, 2}}, r"\$\.a is a set"),
    ({"a": b"bytes"}, r"\$\.a is a bytes"),
    (nested(101), "more than 100 levels deep"),
    ({"a": nested(300)}, "more than 100 levels deep"),
    ([1, 2], "no JSON object"),
    (None, "no JSON object"),
]


@pytest.mark.parametrize(("data", "message"), BAD_DATA, ids=[message for _, message in BAD_DATA])
async def test_data_that_is_no_json_is_refused_with_its_path(log: EventLog, data: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message) as raised:
        await log.append_to(ORDER, [NewEvent("order.placed", {}), NewEvent("order.placed", data)])
    assert "event 2 of 2" in raised.value.message
    assert raised.value.hint
    assert (await log.head()).position == 0


SUSPICIOUS: list[dict[str, Any]] = [{"a": None}, {"null": "null"}, nested(100), {"t": "[{" * 500}, {"l": [[0]] * 200}]


@pytest.mark.parametrize("data", SUSPICIOUS)
async def test_what_only_looks_suspicious_is_taken(log: EventLog, data: dict[str, Any]) -> None:
    await log.append_to(ORDER, [NewEvent("order.placed", data)])
    (event,) = await log.read_stream(ORDER)
    assert event.data == data


BAD_EVENTS: list[NewEvent] = [
    NewEvent("placed", {}),
    NewEvent("Order.placed", {}),
    NewEvent("order.", {}),
    NewEvent("order.placed\n", {}),
    NewEvent("o." + "x" * 99, {}),
    NewEvent(7, {}),  # pyright: ignore[reportArgumentType] - that is the fault
    NewEvent("order.placed", {}, event_id="1"),
    NewEvent("order.placed", {}, event_id=uuid4()),  # pyright: ignore[reportArgumentType] - that is the fault
    NewEvent("order.placed", {}, event_id="0" * 32),
    NewEvent("order.placed", {}, occurred_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - that is the fault
    NewEvent("order.placed", {}, schema_version=0),
    NewEvent("order.placed", {}, schema_version=10_001),
    NewEvent("order.placed", {}, schema_version=1.5),  # pyright: ignore[reportArgumentType] - that is the fault
    NewEvent("order.placed", {}, Metadata(correlation_id="")),
    NewEvent("order.placed", {}, Metadata(correlation_id="a\0b")),
    NewEvent("order.placed", {}, Metadata(principal="x" * 201)),
    NewEvent("order.placed", {}, Metadata(source="half \ud83d")),
    NewEvent("order.placed", {}, Metadata(causation_id=7)),  # pyright: ignore[reportArgumentType] - that is the fault
    NewEvent("order.placed", {}, Metadata(traceparent="00-1-2-01")),
    NewEvent("order.placed", {}, Metadata(tags=("a",) * 21)),
    NewEvent("order.placed", {}, Metadata(tags=("a", "b\n"))),
    NewEvent("order.placed", {}, subject=""),
]


@pytest.mark.parametrize("event", BAD_EVENTS, ids=lambda event: ascii(event)[9:100])
async def test_a_malformed_envelope_is_refused(log: EventLog, event: NewEvent) -> None:
    with pytest.raises(BadInput) as raised:
        await log.append_to(ORDER, [event])
    assert raised.value.hint
    assert (await log.head()).position == 0


@pytest.mark.parametrize(
    "stream",
    [
        StreamId("acme", "order"),
        StreamId("acme", "order-"),
        StreamId("acme", "-1"),
        StreamId("acme", "Order-1"),
        StreamId("acme", "order-1 2"),
        StreamId("acme", "order-1/2"),
        StreamId("acme", "order-1?x"),
        StreamId("acme", "order-50%"),
        StreamId("acme", "order-#1"),
        StreamId("acme", "order-1\n"),
        StreamId("acme", "order-\ud83d"),
        StreamId("acme", "order-" + "x" * 201),
        StreamId("", "order-1"),
        StreamId("a\0", "order-1"),
        StreamId("x" * 101, "order-1"),
    ],
    ids=ascii,
)
async def test_a_stream_that_cannot_be_named_is_refused(log: EventLog, stream: StreamId) -> None:
    with pytest.raises(BadInput):
        await log.append_to(stream, [NewEvent("order.placed", {})])
    assert (await log.head()).position == 0


async def test_impossible_appends_are_refused(log: EventLog) -> None:
    event, twice = NewEvent("order.placed", {}), NewEvent("order.placed", {}, event_id=str(uuid4()))
    for appends in (
        [],
        [Append(ORDER, [])],
        [Append(ORDER, [event] * 1001)],
        [Append(ORDER, [event])] * 1001,
        [Append(ORDER, [event], expected=-1)],
        [Append(ORDER, [event], expected=True)],
        [Append(ORDER, [event], expected=2**63)],
        [Append(ORDER, [twice, event, twice])],
    ):
        with pytest.raises(BadInput):
            await log.append(appends)
    assert (await log.head()).position == 0


async def test_data_against_its_schema_is_refused_with_its_path() -> None:
    schema = {"type": "object", "properties": {"lines": {"type": "array", "items": {"type": "integer"}}}}
    async with open_memory(TypeRegistry([EventType("order.placed", schemas={1: schema})])) as log:
        with pytest.raises(BadInput, match=r"\$\.lines\[1\]"):
            await log.append_to(ORDER, [NewEvent("order.placed", {"lines": [1, "two"]})])
        await log.append_to(ORDER, [NewEvent("order.placed", {"lines": [1, 2]}), NewEvent("any.thing", {"lines": "x"})])
        assert (await log.head()).position == 2
