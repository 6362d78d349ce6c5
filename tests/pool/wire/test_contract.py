"""Output schemas as hostile servers write them: the check ends in time, and finds what there is to find."""

import time
from typing import Any

import pytest

from pool.wire.contract import OutputCheck
from stoa.errors import Fault
from stoa.tools import ToolResult

DRAFT = "https://json-schema.org/draft/2020-12/schema"
OLD_DRAFT = "http://json-schema.org/draft-07/schema#"
DOUBLED: dict[str, Any] = {
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}},
    "$ref": "#/$defs/d0",
}


def find(schema: dict[str, Any], value: Any) -> str:
    try:
        OutputCheck(schema).check(ToolResult(blocks=(), structured=value, is_error=False), server="s", tool="t")
    except Fault as fault:
        return fault.message
    return ""


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "(a+)+$"}, "a" * 40 + "!"),
        ({"patternProperties": {"(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
        ({"patternProperties": {"(a+)+$": {}}, "unevaluatedProperties": False}, {"a" * 40 + "!": 1}),
        ({"properties": {"a": {"$schema": DRAFT, "pattern": "(a+)+$"}}}, {"a": "a" * 40 + "!"}),
        ({"properties": {"a": {"$schema": OLD_DRAFT, "pattern": "(a+)+$"}}}, {"a": "a" * 40 + "!"}),
        ({"$schema": OLD_DRAFT, "pattern": "(a+)+$"}, "a" * 40 + "!"),
        (DOUBLED, {}),
        ({"uniqueItems": True}, [{"a": n} for n in range(20_000)]),
        ({"properties": {f"p{n}": {"type": "string"} for n in range(30_000)}}, {}),
        ({"$ref": "#"}, {}),
    ],
)
def test_no_schema_keeps_us_busy(schema: dict[str, Any], value: Any) -> None:
    started = time.thread_time()
    find(schema, value)
    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "pattern": "^a+$"}, "aaa", "b"),
        ({"type": "string", "pattern": r"\d{3}"}, "x123y", "12"),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": 1, "b": "x"}, {"n_a": "1"}),
        ({"properties": {"a": {"type": "integer"}}, "additionalProperties": False}, {"a": 1}, {"a": 1, "b": 2}),
        ({"uniqueItems": True}, [1, 2], [1, 1]),
        ({"$defs": {"x": {"type": "integer"}}, "items": {"$ref": "#/$defs/x"}}, [1], ["1"]),
    ],
)
def test_what_does_not_fit_is_found(schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert find(schema, good) == ""
    assert "does not fit" in find(schema, bad)


def test_a_schema_that_is_none_is_told() -> None:
    assert "no JSON schema" in find({"type": "banana"}, {})
    assert "cannot be used" in find({"$ref": "https://elsewhere.example/schema"}, {})
