"""What has changed between two states, said as JSON Patch."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.travel.diff import Change, apply_changes, diff
from stoa.errors import BadInput

LEAF = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 0.5]), st.text(max_size=3))
NAME = st.text(st.sampled_from("ab/~01-"), max_size=3)
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAME, inner, max_size=4), max_leaves=20
)


def is_same(one: Any, other: Any) -> bool:
    """Written the same: true is not 1, and 1 is not 1.0."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


@given(JSON, JSON)
def test_the_changes_make_the_second_state_out_of_the_first(before: Any, after: Any) -> None:
    as_they_were = orjson.dumps([before, after])
    changes = diff(before, after)
    assert is_same(apply_changes(before, changes), after)
    assert is_same(apply_changes(after, diff(after, before)), before)
    assert orjson.dumps([before, after]) == as_they_were
    assert bool(changes) is not is_same(before, after)


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 8), st.integers(0, 5))
def test_something_put_into_a_list_is_one_change(items: list[int], at: int, new: int) -> None:
    at = min(at, len(items))
    after = [*items[:at], new, *items[at:]]
    assert [each.op for each in diff(items, after)] == ["add"]
    assert [each.op for each in diff(after, items)] == ["remove"]


def test_changes_say_where_and_what() -> None:
    before = {"lines": [{"sku": "a", "n": 1}, {"sku": "b"}], "note": "x", "a/b": {"~": True}}
    after = {"lines": [{"sku": "a", "n": 2}, {"sku": "b"}], "paid": None, "a/b": {"~": 1}}
    assert [each.as_json() for each in diff(before, after)] == [
        {"op": "replace", "path": "/a~1b/~0", "from": True, "to": 1},
        {"op": "replace", "path": "/lines/0/n", "from": 1, "to": 2},
        {"op": "remove", "path": "/note", "from": "x"},
        {"op": "add", "path": "/paid", "to": None},
    ]
    assert diff(1, [1])[0].path == ""


def test_very_deep_states_are_compared_without_end_of_stack() -> None:
    one: Any = 1
    other: Any = 2
    for _ in range(120):
        one, other = {"a": [one]}, {"a": [other]}
    (change,) = diff(one, other)
    assert change.op == "replace"
    assert is_same(apply_changes(one, [change])["a"], other["a"])


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ({}, Change("remove", "/a")),
        ({}, Change("replace", "/a", after=1)),
        ([], Change("remove", "/0")),
        ([1], Change("add", "/2", after=1)),
        ([1], Change("add", "/-1", after=1)),
        ([1], Change("replace", "/x", after=1)),
        ({"a": 1}, Change("add", "/a/b", after=1)),
    ],
)
def test_a_change_that_does_not_fit_is_bad_input(state: Any, change: Change) -> None:
    with pytest.raises(BadInput, match="does not fit"):
        apply_changes(state, [change])
