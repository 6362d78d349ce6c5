"""Folds, the generic aggregate, packing and policies: the pure rooms."""

import hashlib
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.aggregates.aggregate import MAX_STATE_BYTES, Aggregate, fold, fresh, written
from eventlog.aggregates.generic import generic, merge
from eventlog.aggregates.packing import NotASnapshot, pack, unpack
from eventlog.aggregates.policy import AnyOf, Elapsed, EveryEvents, Manual, Policy, Since, Size, is_due
from eventlog.event import Event, StreamId
from stoa.errors import Fault
from tests.eventlog.aggregates.accounts import ACCOUNT

LEAF = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=5))
JSON = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
OBJECT = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def event(version: int, type: str, data: dict[str, Any] | None) -> Event:
    raw = None if data is None else orjson.dumps(data)
    checksum = hashlib.sha256(b"%d" % version).digest()
    return Event(version, StreamId("acme", "thing-1"), version, type, 1, "", raw, None, 0, 0, checksum)


# The test cases of RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_data_is_merged_as_rfc_7396_says(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


@given(OBJECT, OBJECT)
def test_merging_changes_neither_side_and_a_second_time_nothing(target: dict[str, Any], patch: dict[str, Any]) -> None:
    before = orjson.dumps([target, patch])
    merged = merge(target, patch)
    assert merge(merged, patch) == merged
    assert orjson.dumps([target, patch]) == before


def test_the_generic_aggregate_knows_deleted_and_restored() -> None:
    thing = generic("thing")
    created = event(1, "thing.created", {"name": "lamp", "size": {"w": 1, "h": 2}})
    changed = event(2, "thing.changed", {"size": {"h": None, "d": 3}})
    deleted = event(3, "thing.deleted", {})
    restored = event(4, "thing.restored", {})
    state = fold(thing, fresh(thing), [created, changed])
    assert state == {"name": "lamp", "size": {"w": 1, "d": 3}}
    assert fold(thing, state, [deleted])["is_deleted"] is True
    assert fold(thing, state, [deleted, restored]) == state
    assert thing.initial == {}


def test_a_fold_that_raises_names_the_event() -> None:
    with pytest.raises(
        Fault, match=r"aggregate 'account' \(version 1\) cannot apply <Event 2 account\.deposited"
    ) as stuck:
        fold(ACCOUNT, fresh(ACCOUNT), [event(1, "account.deposited", {"amount": 1}), event(2, "account.deposited", {})])
    assert "KeyError" in stuck.value.message


def test_erased_events_are_left_out_unless_the_aggregate_can_bear_them() -> None:
    def count(state: int, event: Event) -> int:
        return state + (100 if event.is_erased else 1)

    events = [event(1, "a.b", {}), event(2, "a.b", None)]
    assert fold(Aggregate(type="a", initial=0, apply=count), 0, events) == 1
    assert fold(Aggregate(type="a", initial=0, apply=count, sees_erased=True), 0, events) == 101


def test_a_state_that_is_no_json_or_too_large_is_a_fault() -> None:
    thing = Aggregate[Any](type="thing", initial={}, apply=lambda state, _event: state)
    with pytest.raises(Fault, match="not JSON"):
        written(thing, {"a": object()})
    with pytest.raises(Fault, match="bytes"):
        written(thing, {"a": "x" * MAX_STATE_BYTES})


@given(OBJECT)
def test_what_is_packed_comes_back(state: dict[str, Any]) -> None:
    text = orjson.dumps(state)
    assert unpack(pack(text), len(text)) == text


@given(st.binary(max_size=200), st.integers(-1, 300))
def test_bytes_of_others_are_no_snapshot(packed: bytes, size: int) -> None:
    with pytest.raises(NotASnapshot):
        unpack(packed, size)


@pytest.mark.parametrize("size", [0, 10, 2**24 - 1, 2**24 + 1, 2**62])
def test_a_snapshot_never_grows_beyond_what_it_says(size: int) -> None:
    bomb = pack(b"0" * 2**24)
    assert len(bomb) < 2_000
    tracemalloc.start()
    try:
        with pytest.raises(NotASnapshot):
            unpack(bomb, size)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**18 or size == 2**24 - 1


def test_a_snapshot_with_something_behind_it_or_cut_short_is_none() -> None:
    packed = pack(b'{"balance":1}')
    for other in (packed + b"x", packed + packed, packed[:-1], packed[:5]):
        with pytest.raises(NotASnapshot):
            unpack(other, 13)


SINCE = Since(events=50, event_bytes=5_000, seconds=60.0, state_bytes=1_000)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (EveryEvents(50), True),
        (EveryEvents(51), False),
        (Elapsed(60), True),
        (Elapsed(61), False),
        (Size(5_000), True),
        (Size(5_001), False),
        (Size(10_000, state_bytes=6_000), True),
        (Size(10_000, state_bytes=6_001), False),
        (Manual(), False),
        (AnyOf((EveryEvents(51), Elapsed(60))), True),
        (AnyOf((EveryEvents(51), Elapsed(61))), False),
    ],
)
def test_a_policy_says_when_a_snapshot_is_due(policy: Policy, *, expected: bool) -> None:
    assert is_due(policy, SINCE) is expected
    assert not is_due(policy, Since(0, 0, 1e9))
