"""Event types: what is refused, where it is said to lie, and how old data is brought up."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.event import NewEvent, StreamId
from eventlog.open import open_memory
from eventlog.schemas import EventType, TypeRegistry, Upcaster, json_path
from stoa.errors import BadInput, Fault

PLACED_1 = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
PLACED_2 = {
    "type": "object",
    "properties": {
        "cents": {"type": "integer", "minimum": 0},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
        "placed_on": {"type": "string", "format": "date"},
        "email": {"type": "string", "maxLength": 5},
    },
    "required": ["cents"],
    "additionalProperties": False,
}


def to_cents(data: dict[str, Any]) -> dict[str, Any]:
    data["cents"] = round(data.pop("amount") * 100)
    return data


PLACED = EventType("order.placed", version=2, schemas={1: PLACED_1, 2: PLACED_2}, upcasters={1: to_cents})
ORDER = StreamId("acme", "order-1")


def test_data_is_written_with_the_newest_version_unless_it_says_another() -> None:
    registry = TypeRegistry([PLACED])
    assert registry.check("order.placed", None, {"cents": 5}) == 2
    assert registry.check("order.placed", 2, MappingProxyType({"cents": 5})) == 2
    assert registry.check("order.placed", 1, {"amount": 0.05}) == 1
    assert registry.names() == ["order.placed"]
    assert registry.get("order.placed") is PLACED
    assert registry.get("order.paid") is None


@pytest.mark.parametrize(
    ("version", "data", "where", "expected"),
    [
        (None, {}, "$:", "cents"),
        (None, {"cents": -1}, "$.cents:", "minimum of 0"),
        (None, {"cents": 1, "lines": [{"sku": "a"}, {"sku": 7}]}, "$.lines[1].sku:", 'not of type "string"'),
        (None, {"cents": 1, "placed_on": "yesterday"}, "$.placed_on:", '"date"'),
        (None, {"cents": 1, "colour": "red"}, "$:", "'colour' was unexpected"),
        (1, {"amount": "5"}, "$.amount:", 'not of type "number"'),
    ],
)
def test_bad_data_is_refused_with_type_version_place_and_what_was_expected(
    version: int | None, data: dict[str, Any], where: str, expected: str
) -> None:
    with pytest.raises(BadInput) as refused:
        TypeRegistry([PLACED]).check("order.placed", version, data)
    message = refused.value.message
    assert "'order.placed'" in message
    assert f"schema version {version or 2}" in message
    assert where in message
    assert expected in message


def test_a_refusal_repeats_no_values_and_stays_short() -> None:
    with pytest.raises(BadInput) as refused:
        TypeRegistry([PLACED]).check("order.placed", None, {"cents": 1, "email": "ada@example.org" * 1_000})
    assert "ada@" not in str(refused.value)
    with pytest.raises(BadInput) as refused:
        TypeRegistry([PLACED]).check("order.placed", None, {"cents": 1, "x" * 100_000: 1})
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("data", [{"cents": object()}, {7: 1}, {"cents": {1}}])
def test_what_is_no_json_is_bad_input(data: Mapping[Any, Any]) -> None:
    with pytest.raises(BadInput, match="is not JSON"):
        TypeRegistry([PLACED]).check("order.placed", None, data)


def test_data_that_nests_without_end_is_bad_input() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"cents": deep}
    with pytest.raises(BadInput):
        TypeRegistry([PLACED]).check("order.placed", None, deep)


def test_unknown_types_pass_with_the_version_that_they_say() -> None:
    registry = TypeRegistry([PLACED])
    assert registry.check("order.paid", None, {"anything": [1]}) == 1
    assert registry.check("order.paid", 7, {}) == 7
    assert registry.upcaster("order.paid", 1) is None


@pytest.mark.parametrize("version", [0, -1, 10_001])
@pytest.mark.parametrize("type", ["order.placed", "order.paid"])
def test_a_version_out_of_range_is_refused(version: int, type: str) -> None:
    with pytest.raises(BadInput, match="out of range"):
        TypeRegistry([PLACED]).check(type, version, {"cents": 1})


def test_nobody_gets_past_the_schema_by_naming_a_version_that_does_not_exist() -> None:
    with pytest.raises(BadInput, match="no schema version 3 here; the newest is 2"):
        TypeRegistry([PLACED]).check("order.placed", 3, {"cents": "no number"})


def test_a_version_without_a_schema_is_not_checked() -> None:
    registry = TypeRegistry([EventType("order.placed", version=2, schemas={2: PLACED_2}, upcasters={1: to_cents})])
    assert registry.check("order.placed", 1, {"whatever": 1}) == 1


@pytest.mark.parametrize(
    ("type", "why"),
    [
        (EventType("a.b", version=4, upcasters={1: dict, 3: dict}), "nothing brings data up from version 2"),
        (EventType("a.b", version=1, upcasters={1: dict}), "nothing above version 1"),
        (EventType("a.b", version=2, upcasters={0: dict, 1: dict}), r"upcasters from versions \[0\]"),
        (EventType("a.b", version=0), "version 0 is out of range"),
        (EventType("a.b", schemas={2: {}}), r"schemas of versions \[2\]"),
        (EventType("a.b", schemas={1: {"type": "nothing"}}), "schema of version 1 cannot be used"),
        (EventType("a.b", schemas={1: {"pattern": "(("}}), "schema of version 1 cannot be used"),
        (EventType("A b"), "cannot be the name"),
    ],
)
def test_a_wrong_description_is_a_fault_before_anything_is_read(type: EventType, why: str) -> None:
    with pytest.raises(Fault, match=why):
        TypeRegistry([type])


def test_a_type_is_described_once() -> None:
    with pytest.raises(Fault, match="described twice"):
        TypeRegistry([PLACED, EventType("order.placed")])


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/schema.json", "file:///etc/hostname"])
def test_a_schema_never_fetches_another(address: str) -> None:
    with pytest.raises(Fault, match="Retrieval is disabled"):
        TypeRegistry([EventType("a.b", schemas={1: {"$ref": address}})])


def test_the_newest_and_newer_versions_are_read_as_they_are() -> None:
    registry = TypeRegistry([PLACED])
    assert registry.upcaster("order.placed", 2) is None
    assert registry.upcaster("order.placed", 3) is None


def _adding(name: str) -> Upcaster:
    return lambda data: {**data, "trail": [*data.get("trail", []), name]}


@given(st.integers(2, 12), st.data())
def test_chains_of_upcasters_compose(newest: int, data: st.DataObject) -> None:
    registry = TypeRegistry(
        [EventType("a.b", version=newest, upcasters={step: _adding(str(step)) for step in range(1, newest)})]
    )
    stored = data.draw(st.integers(1, newest - 1))
    upcaster = registry.upcaster("a.b", stored)
    assert upcaster is not None
    assert upcaster({"kept": 1}) == {"kept": 1, "trail": [str(step) for step in range(stored, newest)]}
    one_step = TypeRegistry(
        [EventType("a.b", version=stored + 1, upcasters={s: _adding(str(s)) for s in range(1, stored + 1)})]
    )
    first, rest = one_step.upcaster("a.b", stored), registry.upcaster("a.b", stored + 1)
    assert first is not None
    assert upcaster({}) == (rest(first({})) if rest is not None else first({}))


def _raising(data: dict[str, Any]) -> dict[str, Any]:
    return data["gone"]


def _answering_a_list(data: dict[str, Any]) -> Any:
    return [data]


@pytest.mark.parametrize("step", [_raising, _answering_a_list])
async def test_an_event_that_cannot_be_brought_up_is_named_and_the_others_are_read(step: Upcaster) -> None:
    def only_odd(data: dict[str, Any]) -> dict[str, Any]:
        return step(data) if data["amount"] == 2 else to_cents(data)

    types = TypeRegistry(
        [EventType("order.placed", version=3, schemas={1: PLACED_1}, upcasters={1: only_odd, 2: dict})]
    )
    with anyio.fail_after(10):
        async with open_memory(types) as log:
            await log.append_to(
                ORDER, [NewEvent("order.placed", {"amount": amount}, schema_version=1) for amount in (1, 2, 3)]
            )
            first, second, third = await log.read_stream(ORDER)
    assert (first.data, third.data) == ({"cents": 100}, {"cents": 300})
    with pytest.raises(Fault) as stuck:
        _ = second.data
    assert "event 2 (version 2 of 'order-1')" in stuck.value.message
    assert "'order.placed' cannot be brought from schema version 1 to 2" in stuck.value.message
    assert second.stored_data == b'{"amount":2}'


async def test_bad_data_is_refused_when_it_is_appended_and_nothing_is_written() -> None:
    with anyio.fail_after(10):
        async with open_memory(TypeRegistry([PLACED])) as log:
            with pytest.raises(BadInput, match=r"\$\.cents"):
                await log.append_to(
                    ORDER, [NewEvent("order.placed", {"cents": 1}), NewEvent("order.placed", {"cents": "1"})]
                )
            assert (await log.head()).position == 0
            await log.append_to(ORDER, [NewEvent("order.placed", {"amount": 1.5}, schema_version=1)])
            (event,) = await log.read_stream(ORDER)
    assert event.data == {"cents": 150}
    assert json.loads(event.stored_data or b"") == {"amount": 1.5}
    assert event.schema_version == 1


@given(st.lists(st.one_of(st.text(), st.integers(0, 10**6))))
def test_a_path_is_one_short_line(parts: list[str | int]) -> None:
    path = json_path(parts)
    assert path.startswith("$")
    assert len(path) <= 210
    assert "\n" not in path


def test_a_path_is_written_as_rfc_9535_does() -> None:
    assert json_path(["lines", 0, "price", "odd key", "it's"]) == "$.lines[0].price['odd key'][\"it's\"]"
