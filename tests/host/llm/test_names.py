"""Names of tools for a model: what providers accept, one to one with the tools."""

import re

from hypothesis import given
from hypothesis import strategies as st

from host.llm.names import MAX_NAME, name_tools
from stoa.tools import ToolRef


def test_a_name_is_server_and_tool() -> None:
    refs = [ToolRef("content", "search_documents"), ToolRef("my-wiki", "get")]
    assert list(name_tools(refs)) == ["content_search_documents", "my-wiki_get"]


def test_a_long_name_is_cut_and_told_apart() -> None:
    refs = [ToolRef("content", "search_" + "x" * 80), ToolRef("content", "search_" + "x" * 81)]
    names = list(name_tools(refs))
    assert len(set(names)) == 2
    assert all(name.startswith("content_search_xxx") and len(name) == MAX_NAME for name in names)


def test_two_tools_that_would_share_a_name_both_get_another_one() -> None:
    refs = [ToolRef("a_b", "c"), ToolRef("a", "b_c")]
    named = name_tools(refs)
    assert list(named.values()) == refs
    assert "a_b_c" not in named


def test_signs_that_providers_refuse_are_replaced() -> None:
    (name,) = name_tools([ToolRef("my server", "do.it/näher")])
    assert re.fullmatch(r"my_server_do_it_n_her_[0-9a-f]{8}", name)


def test_a_name_does_not_depend_on_other_tools() -> None:
    alone = ToolRef("odd server", "tool")
    (name,) = name_tools([alone])
    assert name_tools([ToolRef("content", "get"), alone])[name] == alone


def test_a_tool_that_takes_the_name_of_another_ones_hash_is_told_apart() -> None:
    odd = ToolRef("odd server", "tool")
    (taken,) = name_tools([odd])
    server, _, tool = taken.partition("_")
    named = name_tools([ToolRef(server, tool), odd])
    assert sorted(named.values(), key=str) == sorted([odd, ToolRef(server, tool)], key=str)


@given(st.lists(st.builds(ToolRef, st.text(min_size=1), st.text(min_size=1)), unique=True))
def test_any_tools_get_acceptable_names_and_are_found_again(refs: list[ToolRef]) -> None:
    named = name_tools(refs)
    assert list(named.values()) == refs
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in named)
