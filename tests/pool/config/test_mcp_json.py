"""`mcp.json`: what other clients write is read, what is wrong is named with file, key, value and remedy."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from pool.config.mcp_json import parse_config, read_config
from pool.spec import GroupSpec, HttpSpec, SseSpec, StdioSpec, WsSpec
from stoa.errors import BadInput

ENVIRONMENT = {"TOKEN": "hunter2-token", "HOME": "/home/ann", "EMPTY": ""}


def parse(value: object, environ: Mapping[str, str] = ENVIRONMENT) -> dict[str, GroupSpec]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {group.name: group for group in parse_config(text, source="mcp.json", environ=environ)}


def stdio(group: GroupSpec) -> StdioSpec:
    (member,) = group.members
    assert isinstance(member, StdioSpec)
    return member


def test_each_server_is_a_group_of_its_own() -> None:
    groups = parse(
        {"mcpServers": {"a": {"command": "x", "args": ["1"], "env": {"E": "2"}, "cwd": "/"}, "b": {"url": "http://h/"}}}
    )
    assert list(groups) == ["a", "b"]
    assert groups["a"] == GroupSpec("a", (StdioSpec("x", ("1",), env={"E": "2"}, cwd="/"),))
    assert groups["b"] == GroupSpec("b", (HttpSpec("http://h/"),))


def test_a_pool_of_the_name_of_a_server_means_that_server() -> None:
    groups = parse(
        {
            "mcpServers": {"content": {"command": "x"}},
            "stoa": {"pools": {"content": {"replicas": 2, "max_in_flight": 3}}},
        }
    )
    assert (groups["content"].replicas, groups["content"].max_in_flight) == (2, 3)


def test_a_pool_has_members_and_they_are_no_groups_any_more() -> None:
    servers = {"k-a": {"command": "x"}, "other": {"command": "y"}, "k-b": {"type": "ws", "url": "ws://h:1/mcp/ws"}}
    groups = parse(
        {"mcpServers": servers, "stoa": {"pools": {"knowledge": {"members": ["k-a", "k-b"], "trusted": True}}}}
    )
    assert list(groups) == ["knowledge", "other"]
    assert groups["knowledge"].members == (StdioSpec("x"), WsSpec("ws://h:1/mcp/ws"))
    assert groups["knowledge"].trusted


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({"type": "stdio", "command": "x"}, StdioSpec),
        ({"command": "x"}, StdioSpec),
        ({"url": "https://h/mcp"}, HttpSpec),
        ({"type": "http", "url": "https://h/mcp"}, HttpSpec),
        ({"type": "streamable-http", "url": "https://h/mcp"}, HttpSpec),
        ({"type": "streamableHttp", "url": "https://h/mcp"}, HttpSpec),
        ({"type": "sse", "url": "https://h/sse"}, SseSpec),
        ({"type": "ws", "url": "wss://h/mcp/ws"}, WsSpec),
        ({"url": "ws://h/mcp/ws"}, WsSpec),
        ({"serverUrl": "https://h/mcp"}, HttpSpec),
        ({"httpUrl": "https://h/mcp"}, HttpSpec),
    ],
)
def test_every_spelling_of_a_transport_is_understood(written: object, kind: type) -> None:
    (member,) = parse({"mcpServers": {"a": written}})["a"].members
    assert isinstance(member, kind)


CLAUDE_DESKTOP = """{"globalShortcut": "Ctrl+Space", "preferences": {"quickEntry": true},
  "mcpServers": {"files": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/tmp"]}}}"""
CLAUDE_CODE = """{"mcpServers": {"api": {"type": "http", "url": "${API_BASE:-https://api.example.com}/mcp",
  "headers": {"Authorization": "Bearer ${TOKEN}"}}, "db": {"type": "stdio", "command": "db", "args": [], "env": {}}}}"""
CURSOR = """{"mcpServers": {"web": {"url": "http://localhost:3000/mcp", "headers": {"K": "${env:TOKEN}"}},
  "cli": {"type": "stdio", "command": "python", "args": ["${env:HOME}/server.py"], "envFile": ".env"}}}"""
VS_CODE = """{
  // written by the editor
  "inputs": [{"type": "promptString", "id": "key", "password": true}],
  "servers": {
    "github": {"type": "http", "url": "https://api.githubcopilot.com/mcp/", /* a // in a string stays */},
    "fetch": {"command": "uvx", "args": ["mcp-server-fetch"], "dev": {"watch": "*.py"}, "gallery": true,},
  },
}"""
CLINE = """{"mcpServers": {"one": {"command": "x", "args": [], "disabled": false, "autoApprove": ["a"], "timeout": 60,
  "alwaysAllow": [], "description": "text"}, "off": {"command": "y", "disabled": true}}}"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (CLAUDE_DESKTOP, ["files"]),
        (CLAUDE_CODE, ["api", "db"]),
        (CURSOR, ["web", "cli"]),
        (VS_CODE, ["github", "fetch"]),
        (CLINE, ["one"]),
    ],
    ids=["claude desktop", "claude code", "cursor", "vs code", "cline"],
)
def test_the_files_of_other_clients_are_read(text: str, names: list[str]) -> None:
    assert list(parse(text)) == names


def test_comments_and_commas_inside_strings_stay() -> None:
    group = parse('{"mcpServers": {"a": {"command": "x", "args": ["http://h/ /* no */ ,]", "\\"//"],}}} // end')["a"]
    assert stdio(group).args == ("http://h/ /* no */ ,]", '"//')


def test_variables_are_filled_in_and_kept_out_of_sight() -> None:
    written = {
        "command": "${HOME}/x",
        "args": ["--t=${TOKEN}", "${NONE:-d}", "${EMPTY:-e}", "$TOKEN"],
        "env": {"A": "${env:TOKEN}"},
    }
    spec = stdio(parse({"mcpServers": {"a": written}})["a"])
    assert spec.command == "/home/ann/x"
    assert spec.args == ("--t=hunter2-token", "d", "e", "$TOKEN")
    assert spec.env == {"A": "hunter2-token"}
    assert "hunter2" not in f"{spec} {spec!r}"
    assert "/home/ann/x" in str(spec)


def test_headers_and_passwords_are_kept_out_of_sight() -> None:
    written = {"url": "http://ann:hunter2-pw@h/mcp?key=hunter2-q", "headers": {"Authorization": "Bearer hunter2-h"}}
    group = parse({"mcpServers": {"a": written}})["a"]
    assert "hunter2" not in repr(group)
    (member,) = group.members
    assert isinstance(member, HttpSpec)
    assert {"hunter2-h", "Bearer hunter2-h", "hunter2-pw"} <= set(member.secrets)


@pytest.mark.parametrize(
    ("command", "args", "ours"),
    [
        ("stoa", ["serve", "content"], True),
        ("stoa", ["--config", "x", "serve", "content"], True),
        ("stoa", ["gateway"], False),
        (str(Path(sys.executable).with_name("stoa")), ["serve", "content"], True),
        ("/somewhere/else/stoa", ["serve", "content"], False),
        ("python", ["-m", "servers.content"], True),
        (sys.executable, ["-u", "-m", "servers.content"], True),
        ("python", ["-m", "elsewhere.servers"], False),
        ("npx", ["stoa", "serve", "content"], False),
    ],
)
def test_only_our_own_commands_are_trusted_unasked(command: str, args: list[str], ours: bool) -> None:
    environ = {
        "STOA_HOME": "/data",
        "STOA_SECRET_KEY": "s" * 40,
        "STOA_INTERNAL_KEY": "i" * 40,
        "STOA_MODEL_URL": "u",
        "OTHER": "o",
    }
    group = parse({"mcpServers": {"a": {"command": command, "args": args}}}, environ)["a"]
    assert group.trusted is ours
    expected = {"STOA_HOME": "/data", "STOA_SECRET_KEY": "s" * 40} if ours else {}
    assert stdio(group).env == expected
    assert "ssss" not in repr(group)


def test_trust_can_be_given_and_taken() -> None:
    servers = {"a": {"command": "stoa", "args": ["serve", "a"]}, "b": {"command": "x"}}
    pools = {"a": {"trusted": False}, "b": {"trusted": True}}
    groups = parse({"mcpServers": servers, "stoa": {"pools": pools}}, {"STOA_HOME": "/data"})
    assert (groups["a"].trusted, groups["b"].trusted) == (False, True)
    assert (stdio(groups["a"]).env, stdio(groups["b"]).env) == ({}, {"STOA_HOME": "/data"})


def test_what_the_entry_says_goes_before_our_own_variables() -> None:
    written = {"command": "stoa", "args": ["serve", "a"], "env": {"STOA_HOME": "/theirs"}}
    assert stdio(parse({"mcpServers": {"a": written}}, {"STOA_HOME": "/ours"})["a"]).env == {"STOA_HOME": "/theirs"}


ONE = {"a": {"command": "x"}}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{", ["line 1, column 2", "not JSON"]),
        ('{"mcpServers": {"a": {"command": "x"}}', ["line 1, column 39", "not JSON"]),
        ('{\n  "mcpServers": {"a" {}}\n}', ["line 2, column 22"]),
        ("[" * 100_000, ["nested too deeply"]),
        ([], ["one object, not []"]),
        ({}, ["mcpServers", "missing"]),
        ({"mcpservers": {}}, ["mcpservers", "'mcpServers'"]),
        ({"mcp_servers": {}}, ["mcp_servers", "'mcpServers'"]),
        ({"mcpServers": []}, ["mcpServers", "not []"]),
        ({"mcpServers": {"a": "x"}}, ["mcpServers.a", '"x"']),
        ({"mcpServers": {"a": {}}}, ["mcpServers.a", "neither a command nor a url"]),
        ({"mcpServers": {"a": {"comand": "x"}}}, ["mcpServers.a.comand", "'command'"]),
        ({"mcpServers": {"a": {"command": "x", "zzz": 1}}}, ["mcpServers.a.zzz", "Known are args, command"]),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, ["mcpServers.a.args", 'found "y"']),
        ({"mcpServers": {"a": {"command": "x", "args": [1]}}}, ["mcpServers.a.args.0", "found 1"]),
        ({"mcpServers": {"a": {"command": ""}}}, ["mcpServers.a.command"]),
        ({"mcpServers": {"a": {"type": "http", "command": "x"}}}, ["mcpServers.a.url", "missing"]),
        ({"mcpServers": {"a": {"type": "stdio", "url": "http://h"}}}, ["mcpServers.a.command", "missing"]),
        ({"mcpServers": {"a": {"type": "tcp", "url": "http://h"}}}, ["a.type", '"tcp"', "stdio, http, ws or sse"]),
        ({"mcpServers": {"a": {"url": "ftp://h"}}}, ["mcpServers.a.url", "http://"]),
        ({"mcpServers": {"a": {"url": "http://"}}}, ["mcpServers.a.url"]),
        ({"mcpServers": {"a": {"url": "http://h:99999/"}}}, ["mcpServers.a.url"]),
        ({"mcpServers": {"a": {"url": "http://a b/"}}}, ["mcpServers.a.url", "blanks"]),
        ({"mcpServers": {"a": {"url": "ws://h/\n"}}}, ["mcpServers.a.url", "control characters"]),
        ({"mcpServers": {"a": {"url": "http://" + "é" * 300 + "/"}}}, ["mcpServers.a.url", "1 to 63"]),
        ({"mcpServers": {"a": {"url": "ws://a..b/"}}}, ["mcpServers.a.url", "no host"]),
        ({"mcpServers": {"a": {"url": "http://[::1/"}}}, ["mcpServers.a.url"]),
        ({"mcpServers": {"a": {"url": "http://h", "headers": {"X": "a\r\nY: b"}}}}, ["mcpServers.a.headers.X"]),
        ({"mcpServers": {"a": {"url": "ws://h", "headers": {"X": "\u2603"}}}}, ["a.headers.X", "printable ASCII"]),
        ({"mcpServers": {"a": {"url": "ws://h", "headers": {"X Y": "a"}}}}, ["mcpServers.a.headers.X Y"]),
        ({"mcpServers": {"a": {"type": "ws", "url": "http://h"}}}, ["mcpServers.a.url", "ws://"]),
        ({"mcpServers": {"a": {"command": "${NONE}"}}}, ["a.command", "NONE is not set", "${NONE:-default}"]),
        ({"mcpServers": {"a": {"url": "http://h", "headers": {"X": "${NONE}"}}}}, ["mcpServers.a.headers.X"]),
        ({"mcpServers": {"a": {"command": "${input:key}"}}}, ["${input:key}", "not understood"]),
        ({"mcpServers": {"ws": {"command": "x"}}}, ["mcpServers.ws", "/mcp/ws"]),
        ({"mcpServers": {"a b": {"command": "x"}}}, ["mcpServers.a b", "'a-b'"]),
        ({"mcpServers": {"a" * 65: {"command": "x"}}}, ["1 to 64"]),
        ({"mcpServers": ONE, "stoa": {"pool": {}}}, ["stoa.pool", "'pools'"]),
        ({"mcpServers": ONE, "stoa": {"pools": {"a": {"replica": 2}}}}, ["stoa.pools.a.replica", "'replicas'"]),
        ({"mcpServers": ONE, "stoa": {"pools": {"a": {"replicas": "2"}}}}, ["stoa.pools.a.replicas", 'found "2"']),
        ({"mcpServers": ONE, "stoa": {"pools": {"a": {"replicas": 0}}}}, ["stoa.pools.a.replicas", "found 0"]),
        ({"mcpServers": ONE, "stoa": {"pools": {"a": {"trusted": "yes"}}}}, ["stoa.pools.a.trusted", 'found "yes"']),
        ({"mcpServers": ONE, "stoa": {"pools": {"a": {"strategy": "best"}}}}, ["a.strategy", '"best"', "round_robin"]),
        ({"mcpServers": ONE, "stoa": {"pools": {"b": {}}}}, ["stoa.pools.b", "no server of this name"]),
        ({"mcpServers": ONE, "stoa": {"pools": {"b": {"members": ["aa"]}}}}, ["stoa.pools.b.members", "'aa'", "'a'"]),
        ({"mcpServers": ONE, "stoa": {"pools": {"b": {"members": []}}}}, ["stoa.pools.b.members"]),
        ({"mcpServers": ONE, "stoa": {"pools": {"b": {"members": ["a"]}, "c": {"members": ["a"]}}}}, ["the pool 'b'"]),
        (
            {"mcpServers": {**ONE, "b": {"command": "y"}}, "stoa": {"pools": {"b": {"members": ["a"]}}}},
            ["stoa.pools.b", "same name"],
        ),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', ["a", "twice"]),
        ('{"mcpServers": {"a": {"command": "x", "args": [' + "9" * 5000 + "]}}}", ["thousands of digits"]),
        ('{"mcpServers": {"a": {"command": "x\\ud800"}}}', ["\\ud800 is half a character"]),
        ('{"mcpServers": {}} /* open', ["line 1, column 20"]),
        ('{"mcpServers": {}} /*/', ["line 1, column 20"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(written: object, told: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        parse(written)
    assert str(caught.value).startswith("mcp.json: ")
    for words in told:
        assert words in str(caught.value)


def test_values_that_may_be_secret_are_not_quoted() -> None:
    for written in ({"command": "x", "env": {"A": ["hunter2"]}}, {"url": "http://h", "headers": ["hunter2"]}):
        with pytest.raises(BadInput) as caught:
            parse({"mcpServers": {"a": written}})
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost", "ws://my_host:1/x?y=z", "http://[::1]:80/", "https://münchen.de/é"]
)
def test_addresses_that_can_be_meant_are_taken(url: str) -> None:
    headers = {"Authorization": "Bearer a b/c=", "X-Empty": ""}
    assert set(parse({"mcpServers": {"a": {"url": url, "headers": headers}}})) == {"a"}


def test_a_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_bytes(
        b'\xef\xbb\xbf{"mcpServers": {"a": {"command": "x"}}}'
    )  # with a byte order mark, as Windows writes
    assert [group.name for group in read_config(path, {})] == ["a"]
    for content in (b"\xff\xfe{}", b"[" + b" " * 2**20 + b"]", b"{"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=str(path)):
            read_config(path, {})
    with pytest.raises(BadInput, match="no configuration file") as caught:
        read_config(tmp_path / "none.json", {})
    assert "--config" in caught.value.hint
    with pytest.raises(BadInput, match="cannot be read"):
        read_config(tmp_path, {})


@pytest.mark.parametrize(
    "text",
    [
        '{"mcpServers":"' + '\\"' * 400_000,
        "{" + "/*" * 400_000,
        "{," + ("," + " " * 900) * 1000,
        '{"a":1' + "".join(f',"k{number}":1' for number in range(40_000)) + ',"k39999":2}',
    ],
)
def test_a_hostile_file_costs_no_time(text: str) -> None:
    started = time.process_time()
    with pytest.raises(BadInput):
        parse(text)
    assert time.process_time() - started < 2


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadInput, match="no regular file"):
            read_config(path, {})


def test_references_that_are_not_closed_cost_no_time() -> None:
    written = {"mcpServers": {"one": {"command": "x", "env": {"A": "${HOME}" + "${" * 300_000}}}}
    started = time.monotonic()
    assert stdio(parse(written)["one"]).env["A"].endswith("${${")
    assert time.monotonic() - started < 5  # it was an hour
