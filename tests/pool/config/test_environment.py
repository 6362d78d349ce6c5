"""What variables say about servers and pools: defaults under the file, further servers, and errors that name them."""

import json
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.config.environment import VARIABLES
from pool.config.mcp_json import parse_config
from pool.spec import GroupSpec, HttpSpec, SseSpec, StdioSpec, WsSpec
from stoa.errors import BadInput

ONE = {"a": {"command": "x"}}


def parse(
    environ: Mapping[str, str], servers: object = ONE, pools: object | None = None, key: str = "mcpServers"
) -> dict[str, GroupSpec]:
    text = json.dumps({key: servers, "stoa": {"pools": pools or {}}})
    return {group.name: group for group in parse_config(text, source="mcp.json", environ=environ)}


def refused(environ: Mapping[str, str]) -> str:
    with pytest.raises(BadInput) as caught:
        parse(environ)
    return str(caught.value)


def external(number: int = 1, **said: str) -> dict[str, str]:
    return {f"MCP_EXTERNAL_SERVER_{number}_{key}": value for key, value in said.items()}


DEFAULTS = {
    "MCP_SERVER_TIMEOUT": "30000",
    "MCP_RETRY_COUNT": "3",
    "MCP_CONNECTION_POOL_SIZE": "10",
    "MCP_LOAD_BALANCING_STRATEGY": "round_robin",
}


def test_variables_are_defaults_of_every_pool() -> None:
    for group in parse(DEFAULTS, pools={"a": {"replicas": 2}}), parse(DEFAULTS):
        assert group["a"].call_timeout_seconds == 30
        assert group["a"].policy.retry.attempts == 4
        assert group["a"].max_in_flight == 10
        assert group["a"].policy.strategy == "round_robin"


def test_what_the_file_says_goes_before_the_variables() -> None:
    section = {"call_timeout": 1, "retry": {"attempts": 2}, "max_in_flight": 3, "strategy": "random"}
    group = parse(DEFAULTS, pools={"a": section})["a"]
    assert (group.call_timeout_seconds, group.max_in_flight, group.policy.strategy) == (1, 3, "random")
    assert group.policy.retry.attempts == 2
    assert parse(DEFAULTS, pools={"a": {"retry": {"budget_share": 0.5}}})["a"].policy.retry.attempts == 4


def test_no_retries_is_one_attempt() -> None:
    assert parse({"MCP_RETRY_COUNT": "0"})["a"].policy.retry.attempts == 1


def test_empty_counts_as_unset() -> None:
    assert parse(dict.fromkeys(DEFAULTS, "") | external(NAME="", URI="")) == parse({})


def test_further_servers_stand_beside_those_of_the_file() -> None:
    groups = parse(
        {
            **external(1, NAME="web", URI="http://h:1/mcp"),
            **external(2, NAME="cli", COMMAND="npx", ARGS="-y 'some thing'", TRANSPORT="stdio"),
            **external(3, NAME="live", URI="ws://h/mcp/ws"),
            **external(4, NAME="old", URI="http://h/sse", TRANSPORT="sse"),
            **external(5, NAME="list", COMMAND="x", ARGS='["a b", "c"]'),
            **external(6, NAME="off", COMMAND="x", ENABLED="false"),
            **external(10, NAME="uri", URI="stdio://server --flag"),
        }
    )
    assert {name: group.members for name, group in groups.items()} == {
        "a": (StdioSpec("x"),),
        "web": (HttpSpec("http://h:1/mcp"),),
        "cli": (StdioSpec("npx", ("-y", "some thing")),),
        "live": (WsSpec("ws://h/mcp/ws"),),
        "old": (SseSpec("http://h/sse"),),
        "list": (StdioSpec("x", ("a b", "c")),),
        "uri": (StdioSpec("server", ("--flag",)),),
    }


def test_pools_may_have_them_as_members() -> None:
    environ = external(1, NAME="web", URI="http://h:1/mcp")
    assert len(parse(environ, pools={"k": {"members": ["a", "web"]}})["k"].members) == 2


def test_what_the_file_names_is_the_files_also_when_it_is_switched_off() -> None:
    environ = external(1, NAME="a", URI="http://h/mcp") | external(2, NAME="b", URI="http://h/mcp")
    for key in ("mcpServers", "servers"):
        groups = parse(environ, {"a": {"command": "x"}, "b": {"command": "y", "disabled": True}}, key=key)
        assert {name: group.members for name, group in groups.items()} == {"a": (StdioSpec("x"),)}


def test_addresses_of_known_servers() -> None:
    groups = parse({"NOTION_MCP_URL": "http://h/mcp", "SLACK_MCP_URL": "ws://h/ws", "HELPSCOUT_MCP_URL": "stdio://hs"})
    assert groups["notion"].members == (HttpSpec("http://h/mcp"),)
    assert groups["slack"].members == (WsSpec("ws://h/ws"),)
    assert groups["helpscout"].members == (StdioSpec("hs"),)


def test_all_of_them_can_be_left_out() -> None:
    environ = {"MCP_ENABLED": "false", "NOTION_MCP_URL": "http://h", **external(NAME="web", URI="http://h")}
    assert set(parse(environ)) == {"a"}


def test_our_own_command_is_trusted_here_too_and_secrets_stay_hidden() -> None:
    groups = parse(
        {
            "STOA_HOME": "/data",
            **external(1, NAME="content", COMMAND="stoa", ARGS="serve content"),
            **external(2, NAME="web", URI="http://ann:hunter2-pw@h/mcp?key=hunter2-q"),
        }
    )
    (member,) = groups["content"].members
    assert groups["content"].trusted
    assert isinstance(member, StdioSpec)
    assert member.env == {"STOA_HOME": "/data"}
    assert "hunter2" not in repr(groups["web"])


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"MCP_SERVER_TIMEOUT": "30s"}, ["MCP_SERVER_TIMEOUT", "'30s'", "whole number"]),
        ({"MCP_SERVER_TIMEOUT": "0"}, ["MCP_SERVER_TIMEOUT", "'0'"]),
        ({"MCP_RETRY_COUNT": "10"}, ["MCP_RETRY_COUNT", "0 to 9"]),
        ({"MCP_CONNECTION_POOL_SIZE": "-1"}, ["MCP_CONNECTION_POOL_SIZE", "'-1'"]),
        ({"MCP_LOAD_BALANCING_STRATEGY": "best"}, ["MCP_LOAD_BALANCING_STRATEGY", "'best'", "least_latency"]),
        ({"MCP_ENABLED": "maybe"}, ["MCP_ENABLED", "'maybe'", "true or false"]),
        (external(URI="http://h"), ["MCP_EXTERNAL_SERVER_1_NAME", "not set"]),
        (external(NAME="a b", URI="http://h"), ["MCP_EXTERNAL_SERVER_1_NAME", "'a b'"]),
        (external(NAME="ws", URI="http://h"), ["MCP_EXTERNAL_SERVER_1_NAME", "'ws'"]),
        (external(NAME="b"), ["MCP_EXTERNAL_SERVER_1_URI", "not set"]),
        (external(NAME="b", TRANSPORT="stdio"), ["MCP_EXTERNAL_SERVER_1_COMMAND", "not set"]),
        (external(NAME="b", TRANSPORT="http", COMMAND="x"), ["MCP_EXTERNAL_SERVER_1_URI", "not set"]),
        (external(NAME="b", TRANSPORT="tcp", URI="http://h"), ["MCP_EXTERNAL_SERVER_1_TRANSPORT", "'tcp'"]),
        (external(NAME="b", URI="ftp://h"), ["MCP_EXTERNAL_SERVER_1_URI", "'ftp://h'", "http://"]),
        (external(NAME="b", URI="http://[::1"), ["MCP_EXTERNAL_SERVER_1_URI"]),
        (external(NAME="b", URI="http://h", TRANSPORT="ws"), ["MCP_EXTERNAL_SERVER_1_URI", "ws://"]),
        (external(NAME="b", URI="stdio://"), ["MCP_EXTERNAL_SERVER_1_URI", "command"]),
        (external(NAME="b", URI="http://h", TRANSPORT="stdio"), ["MCP_EXTERNAL_SERVER_1_URI", "stdio://"]),
        (external(NAME="b", COMMAND="x", ARGS="'"), ["MCP_EXTERNAL_SERVER_1_ARGS", "quote"]),
        (external(NAME="b", COMMAND="x", ARGS="[1]"), ["MCP_EXTERNAL_SERVER_1_ARGS", "JSON list"]),
        (external(NAME="b", COMMAND="x", ENABLED="2"), ["MCP_EXTERNAL_SERVER_1_ENABLED", "'2'"]),
        (external(NAME="b", URL="http://h"), ["MCP_EXTERNAL_SERVER_1_URL", "not known", "_URI"]),
        (external(1, NAME="b", URI="http://h") | external(2, NAME="b", URI="http://i"), ["MCP_EXTERNAL_SERVER_2_NAME"]),
        ({"NOTION_MCP_URL": "h"}, ["NOTION_MCP_URL", "http://"]),
    ],
)  # fmt: skip
def test_the_variable_that_is_wrong_is_named(environ: dict[str, str], told: list[str]) -> None:
    said = refused(environ)
    for words in told:
        assert words in said


def test_a_secret_in_a_wrong_address_is_not_quoted() -> None:
    assert "hunter2" not in refused(external(NAME="b", URI="ftp://ann:hunter2@h/?key=hunter2"))
    assert "hunter2" not in refused(external(NAME="b", COMMAND="x", ARGS="--token hunter2 '"))


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)
VALUE = TEXT | st.sampled_from(
    ["1", "true", "false", "http://h", "stdio://x", "[1", '["a"]', "stdio", "[" * 5000, "ws://["]
)


@given(st.dictionaries(st.sampled_from([name.replace("{n}", n) for name in VARIABLES for n in "12"]), VALUE))
def test_whatever_variables_say_is_taken_or_refused_as_bad_input(environ: dict[str, str]) -> None:
    with suppress(BadInput):
        assert "a" in parse(environ)
