"""One member goes into a file and out again; the rest stays, byte for byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from host.json_edit import with_member, without_member
from pool.config.json_text import parse_json

ENTRY: dict[str, JsonValue] = {"command": "/opt/stoa", "args": ["gateway"], "env": {}}

FILES = [
    '{"a": 1}',
    '{\n  "a": 1\n}\n',
    '{\n\t"a": 1,\n\t"mcpServers": {\n\t\t"x": {}\n\t}\n}',
    '{\r\n    "mcpServers": {\r\n        "x": {"command": "y"}\r\n    },\r\n    "z": [1,   2]\r\n}\r\n',
    '{"mcpServers": {"x": {"command": "{\\"}"}}, "z": 1}',
    '{\n  // mine\n  "mcpServers": {\n    "x": {}, // first\n    /* second */\n    "y": {}\n    // the end\n  },\n}\n',
    '{\n  "mcpServers": {\n    "x": {},\n  },\n  "b": 2, // two\n}',
    '{"mcpServers": {"x": {} // only\n}}',
    '{ "mcpServers": { "x": {} } , "é": "\\u00e9" }',
    '// first\n{\n  "a": 1 // one\n}\n// last\n',
    '{"mcpServers":{"x":{},\n"y":{}}}',
]


@pytest.mark.parametrize("text", FILES)
def test_what_is_put_in_is_there_and_what_is_taken_out_leaves_the_file_as_it_was(text: str) -> None:
    made = with_member(text, "mcpServers", "stoa", ENTRY)
    found, before = parse_json(made, source="made"), parse_json(text, source="before")
    assert isinstance(found, dict)
    assert isinstance(before, dict)
    servers = before.get("mcpServers", {})
    assert isinstance(servers, dict)
    assert found == before | {"mcpServers": {**servers, "stoa": ENTRY}}
    taken = without_member(made, "mcpServers", "stoa")
    if "mcpServers" in before:
        assert taken == text
    else:
        assert parse_json(taken, source="taken") == before | {"mcpServers": {}}


def test_a_file_with_an_indentation_keeps_it() -> None:
    made = with_member('{\n    "mcpServers": {\n        "x": {}\n    }\n}\n', "mcpServers", "stoa", {"a": [1]})
    assert made == (
        '{\n    "mcpServers": {\n        "x": {},\n        "stoa": {\n            "a": [\n                1\n'
        "            ]\n        }\n    }\n}\n"
    )


def test_comments_stay_beside_what_they_speak_of() -> None:
    text = '{\n  "servers": {\n    "x": {} // the first\n  }\n}\n'
    made = with_member(text, "servers", "stoa", 1)
    assert made == '{\n  "servers": {\n    "x": {}, // the first\n    "stoa": 1\n  }\n}\n'


def test_an_empty_object_is_opened() -> None:
    assert with_member("{}", "servers", "stoa", 1) == '{\n  "servers": {\n    "stoa": 1\n  }\n}'
    assert with_member('{\n  "servers": {}\n}\n', "servers", "stoa", 1) == '{\n  "servers": {\n    "stoa": 1\n  }\n}\n'


def test_a_member_that_is_there_gets_the_new_value_in_its_place() -> None:
    text = '{\n  "servers": {\n    "stoa": {"old": true}, // mine\n    "y": 2\n  }\n}'
    assert with_member(text, "servers", "stoa", [1]) == (
        '{\n  "servers": {\n    "stoa": [\n      1\n    ], // mine\n    "y": 2\n  }\n}'
    )


def test_taking_out_what_is_not_there_changes_nothing() -> None:
    for text in FILES:
        assert without_member(text, "mcpServers", "stoa") == text
        assert without_member(text, "nothing", "stoa") == text


def test_a_member_is_taken_out_from_the_middle_and_from_the_front() -> None:
    text = '{"s": {"a": 1, "b": 2, "c": 3}}'
    assert without_member(text, "s", "a") == '{"s": {"b": 2, "c": 3}}'
    assert without_member(text, "s", "b") == '{"s": {"a": 1, "c": 3}}'
    assert without_member(text, "s", "c") == '{"s": {"a": 1, "b": 2}}'
    text = '{"s": {\n  // one\n  "a": 1, "b": 2, // two\n  "c": 3}}'
    for name in "abc":
        expected = {key: value for key, value in {"a": 1, "b": 2, "c": 3}.items() if key != name}
        assert parse_json(without_member(text, "s", name), source="") == {"s": expected}


# Files as people write them: any spaces, comments, trailing commas.
SPACE = st.sampled_from(["", " ", "\n", "\n  ", "\t", "\r\n", " // c, }\n", "/* { */", " /* c\n */ ", "\n\n"])
NAME = st.sampled_from(["a", "b", 'q"', "//", "é", "mcpServer", "}"])
SCALAR = st.sampled_from(["1", "true", "null", '"x"', '"// no"', '"\\"}"', "[]", "{}", "[1, {}]", "-1.5e3"])


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str] | None = None) -> str:
    text = "{" + draw(SPACE)
    members = [(json.dumps(name), draw(SCALAR)) for name in draw(st.lists(NAME, unique=True, max_size=3))]
    if inner is not None:
        members.insert(draw(st.integers(0, len(members))), ('"mcpServers"', draw(inner)))
    for place, (name, value) in enumerate(members):
        text += f"{name}{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}"
        if place < len(members) - 1 or draw(st.booleans()):
            text += "," + draw(SPACE)
    return text + "}"


@given(SPACE, objects() | objects(objects()), SPACE)
def test_any_valid_file_takes_a_member_and_gives_it_back(lead: str, text: str, end: str) -> None:
    text = lead + text + end
    before = parse_json(text, source="before")
    assert isinstance(before, dict)
    made = with_member(text, "mcpServers", "stoa", ENTRY)
    servers = before.get("mcpServers", {})
    assert isinstance(servers, dict)
    assert parse_json(made, source="made") == before | {"mcpServers": {**servers, "stoa": ENTRY}}
    taken = without_member(made, "mcpServers", "stoa")
    assert parse_json(taken, source="taken") == before | {"mcpServers": servers}
    if servers:
        assert taken == text


@given(objects(objects()), st.data())
def test_any_member_of_any_file_can_be_taken_out(text: str, data: st.DataObject) -> None:
    before = parse_json(text, source="before")
    assert isinstance(before, dict)
    servers = before["mcpServers"]
    assert isinstance(servers, dict)
    name = data.draw(st.sampled_from([*servers, "absent"]))
    left = {key: value for key, value in servers.items() if key != name}
    assert parse_json(without_member(text, "mcpServers", name), source="left") == before | {"mcpServers": left}
