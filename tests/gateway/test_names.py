"""Names in the gateway: short, clear, and the same whoever is up."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.names import MAX_NAME_CHARACTERS, OWN_TOOLS, candidates, name_all, owner_of

ALLOWED = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def test_a_name_is_the_server_and_the_tool_and_leads_back() -> None:
    names = name_all([("content", "search_documents"), ("notes", "search")], servers=["content", "notes"])

    assert names.public["content", "search_documents"] == "content_search_documents"
    assert names.origin["notes_search"] == ("notes", "search")


def test_a_name_that_is_too_long_is_cut_and_told_apart_by_a_hash() -> None:
    long = "x" * 70
    names = name_all([("a", long + "1"), ("a", long + "2")], servers=["a"])

    first, second = names.public["a", long + "1"], names.public["a", long + "2"]
    assert len(first) == len(second) == MAX_NAME_CHARACTERS
    assert first != second


def test_characters_that_models_do_not_take_are_replaced_and_told_apart() -> None:
    names = name_all([("a", "get/x"), ("a", "get.x"), ("a", "get_x")], servers=["a"])

    assert names.public["a", "get_x"] == "a_get_x"
    assert len(set(names.public.values())) == 3
    assert all(ALLOWED.fullmatch(name) for name in names.public.values())


def test_a_name_belongs_to_the_server_with_the_longest_prefix_whether_that_is_up_or_not() -> None:
    servers = ["a", "a_b"]
    alone = name_all([("a", "b_c")], servers=servers)
    both = name_all([("a", "b_c"), ("a_b", "c")], servers=servers)

    assert both.public["a_b", "c"] == "a_b_c"
    assert alone.public["a", "b_c"] == both.public["a", "b_c"] != "a_b_c"
    assert owner_of("a_b_c", servers) == "a_b"


def test_a_name_can_belong_to_every_server_whose_prefix_it_has() -> None:
    servers = ["a", "a_b", "x" * 70, "other"]

    assert candidates("a_b_c_12345678", servers) == ("a_b", "a")
    assert candidates("x" * 55 + "_12345678", servers) == ("x" * 70,)
    assert candidates("nobody_c", servers) == ()


def test_servers_with_names_of_any_length_and_script_are_told_apart() -> None:
    servers = ["ä" * 64, "ö" * 64, "日本", "s" * 64, "s" * 64 + "t"]
    names = name_all([(server, "tool") for server in servers], servers=servers)

    assert len(names.origin) == len(servers)
    assert all(ALLOWED.fullmatch(name) for name in names.origin)
    assert all(server in candidates(names.public[server, "tool"], servers) for server in servers)


def test_the_gateways_own_tools_keep_their_names() -> None:
    names = name_all([("search", "tools"), ("call", "tool")], servers=["search", "call"])

    assert not set(names.origin) & set(OWN_TOOLS)


def test_without_prefix_names_are_untouched() -> None:
    names = name_all([("a", "get.x"), ("a", "call_tool")], servers=["a"], has_prefix=False)

    assert set(names.origin) == {"get.x", "call_tool"}


SERVER = st.text("ab_-.x", min_size=1, max_size=70)


@given(
    servers=st.lists(SERVER, min_size=1, max_size=5, unique=True),
    tools=st.lists(st.tuples(st.integers(0, 4), st.text("abc_./", min_size=1, max_size=90)), max_size=30, unique=True),
)
def test_every_name_can_be_used_and_leads_to_one_tool(servers: list[str], tools: list[tuple[int, str]]) -> None:
    things = list(dict.fromkeys((servers[index % len(servers)], tool) for index, tool in tools))
    names = name_all(things, servers=servers)

    assert set(names.public) | set(names.twice) == set(things)
    assert {names.origin[name] for name in names.origin} == set(names.public)
    assert all(ALLOWED.fullmatch(name) for name in names.origin)
    assert not set(names.origin) & set(OWN_TOOLS)
