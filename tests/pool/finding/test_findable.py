"""What is read of a tool's schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from pool.finding.findable import MAX_DESCRIPTION, MAX_PARAMETERS, Findable, findable


def schema(**properties: Any) -> dict[str, JsonValue]:
    return {"type": "object", "properties": properties}


def test_a_parameter_is_known_by_its_description_and_by_what_it_may_be() -> None:
    found = findable("weather", "Tells it.", schema(unit={"description": "How to say it.", "enum": ["celsius", 3]}))
    assert found == Findable("weather", "Tells it.", {"unit": "How to say it. celsius"})


def test_inner_parameters_are_found_in_objects_lists_references_and_alternatives() -> None:
    inner = schema(city={"description": "Where."})
    outer = schema(
        direct=inner,
        listed={"type": "array", "items": inner},
        pointed={"$ref": "#/$defs/Address", "description": "An address."},
        optional={"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]},
    )
    outer["$defs"] = {"Address": inner}
    assert findable("x", None, outer).parameters == {
        "direct": "",
        "listed": "",
        "pointed": "An address.",
        "optional": "",
        "direct.city": "Where.",
        "listed.city": "Where.",
        "pointed.city": "Where.",
        "optional.city": "Where.",
    }


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    node = schema(child={"$ref": "#"}, other={"anyOf": [{"$ref": "#"}] * 50})
    assert len(findable("tree", "", node).parameters) <= MAX_PARAMETERS


def test_an_endless_description_and_endless_parameters_are_cut() -> None:
    many = schema(**{f"p{number}": {"enum": ["v" * 5_000] * 5_000} for number in range(1_000)})
    found = findable("big", "d" * 10**6, many)
    assert len(found.description) == MAX_DESCRIPTION
    assert len(found.parameters) == MAX_PARAMETERS
    assert sum(map(len, found.parameters.values())) <= MAX_PARAMETERS * 1_000


@pytest.mark.parametrize("broken", [{"properties": []}, {"properties": {"a": 1}}, {"anyOf": 3}, {"items": "x"}, {}])
def test_a_broken_schema_leaves_the_name_and_the_description(broken: dict[str, JsonValue]) -> None:
    found = findable("name", "said", broken)
    assert (found.name, found.description) == ("name", "said")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["properties", "items", "$ref", "anyOf", "description", "enum", "$defs", "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["properties", "items", "$ref", "anyOf", "allOf"]), JSON))
def test_whatever_a_server_sends_is_read(sent: dict[str, JsonValue]) -> None:
    findable("name", None, sent)


def test_the_key_tells_tools_apart_and_holds_as_long_as_the_words_do() -> None:
    assert Findable("a", "bc").key != Findable("ab", "c").key
    assert (
        Findable("a", "b", {"c": "d"}).key == Findable("a", "b", {"c": "d"}).key != Findable("a", "b", {"c": "e"}).key
    )
    assert Findable("\ud800").key
