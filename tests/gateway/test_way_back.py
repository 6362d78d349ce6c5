"""Servers that a pool starts call each other: real children, the private socket, the caller that stays the same."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from pydantic import JsonValue, SecretStr

from gateway.way_back import open_pool
from kit.upstream import Upstream as WayUp
from kit.upstream import open_upstream
from pool.passes import Passes
from pool.pool import Pool
from pool.spec import GroupSpec, InProcessSpec, StdioSpec
from stoa.errors import Denied, StoaError
from stoa.principal import LOCAL, Principal, sign_assertion
from stoa.settings import Settings
from stoa.tools import ToolCall, ToolRef, ToolResult
from stoa.wire import PASS_KEY, PRINCIPAL_KEY
from tests.gateway.caller import command
from tests.gateway.stage import KEY, MODERN
from tests.gateway.upstream import Upstream
from tests.pool.stage import quick, until

STOA = Path(sys.executable).with_name("stoa")
ANN = Principal("ann", "acme", frozenset(), frozenset({"a:read", "b:read"}))
BOB = Principal("bob", "other", frozenset(), frozenset({"a:read", "b:read"}))


@pytest.fixture
def short() -> Iterator[Path]:
    """A home whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def child(name: str, home: Path, **options: object) -> GroupSpec:
    program, *arguments = command(name)
    return quick(name, StdioSpec(program, tuple(arguments), env={"STOA_HOME": str(home)}), **options)


@asynccontextmanager
async def family(home: Path, *others: GroupSpec) -> AsyncGenerator[Pool]:
    with anyio.fail_after(90):
        async with open_pool([child("a", home), child("b", home), *others], home=home, internal_key=None) as pool:
            yield pool


async def call(
    pool: Pool, ref: str, principal: Principal = ANN, *, seconds: float | None = None, **arguments: JsonValue
) -> ToolResult:
    server, _, tool = ref.partition(".")
    served = await pool.call(ToolCall(ToolRef(server, tool), arguments), principal=principal, timeout_seconds=seconds)
    return served.result


def code(result: ToolResult) -> object:
    assert result.is_error
    assert isinstance(result.structured, dict)
    return result.structured["code"]


async def test_a_child_calls_another_server_for_whoever_called_it(short: Path) -> None:
    async with family(short) as pool:
        assert (await call(pool, "a.ask", server="b")).text == "a heard: ann of acme after 1"
        assert (await call(pool, "a.ask", BOB, server="b")).text == "a heard: bob of other after 1"
        assert (await call(pool, "a.ask", LOCAL, server="b")).text == "a heard: local of default after 1"
        # Its tool asks for a scope that this caller has not got: a's own rights are not lent to anybody.
        poor = Principal("eve", "acme", frozenset(), frozenset({"a:read"}))
        assert "'b:read'" in (await call(pool, "a.ask", poor, server="b")).text
        # The second server calls on in its turn.
        assert (await call(pool, "b.ask", server="a")).text == "b heard: ann of acme after 1"
        assert code(await call(pool, "a.ask", server="c")) == "not_found"
        assert code(await call(pool, "a.ask", server="b", tool="whoo")) == "not_found"
    assert list((short / "run").iterdir()) == []


async def test_many_calls_at_once_keep_their_callers_apart(short: Path) -> None:
    heard: dict[int, str] = {}

    async def ask(number: int) -> None:
        who = Principal(f"p{number}", f"t{number}", frozenset(), ANN.scopes)
        heard[number] = (await call(pool, "a.ask", who, server="b")).text

    async with family(short) as pool, anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(ask, number)
    assert heard == {number: f"a heard: p{number} of t{number} after 1" for number in range(12)}


async def test_servers_that_call_each_other_in_a_circle_are_stopped_after_four_hops(short: Path) -> None:
    async with family(short) as pool:
        result = await call(pool, "a.circle", other="b")
    assert result.text.startswith("a, b, a, b, ")
    assert "circle" in result.text


async def test_progress_and_deadlines_pass_through(short: Path) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async with family(short) as pool:
        asked = ToolCall(ToolRef("a", "ask"), {"server": "b", "tool": "count"})
        served = await pool.call(asked, principal=ANN, progress=tell)
        assert served.result.text == "a heard: counted"
        assert told == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]

        late = await call(pool, "a.ask_quickly", server="b", tool="wait", seconds_to_wait=0.3)
        assert code(late) == "unavailable"  # the tool is read-only: nothing can have happened
        await until((short / "b.cancelled").exists)

        # The caller gives up, and nobody works on.
        (short / "b.cancelled").unlink()
        with pytest.raises(StoaError):
            await call(pool, "a.ask", seconds=0.5, server="b", tool="wait")
        await until((short / "b.cancelled").exists)
        assert (await call(pool, "a.ask", server="b")).text == "a heard: ann of acme after 1"


async def test_a_child_acts_for_nobody_whose_request_it_is_not_serving(short: Path) -> None:
    async with family(short) as pool:
        # What it keeps beyond a call is worth nothing, also in a later call of somebody else.
        await call(pool, "a.remember")
        kept = await call(pool, "a.ask_with_another", BOB, server="b")
        assert code(kept) == "denied"
        assert "over" in kept.text

        # A child that has gone bad has its token and its key, and signs whatever it likes.
        address, token, key = (await call(pool, "a.reveal")).text.split()
        _, other_token, _ = (await call(pool, "b.reveal")).text.split()
        settings = Settings.model_validate({"home": short, "upstream": address, "internal_key": key})
        for each in (token, other_token):
            for word in (None, "", "guessed", token):
                own = settings.model_copy(update={"upstream_token": SecretStr(each)})
                async with open_upstream(own) as callers:
                    assert isinstance(callers, WayUp)
                    bad = WayUp(callers.link, callers.key, callers.clock, word)
                    with pytest.raises(StoaError) as refused:
                        await bad.caller(LOCAL).call_tool(ToolCall(ToolRef("b", "who")))
                    assert refused.value.code == "denied"
        for wrong in (None, "wrong", token[:-1]):
            own = settings.model_copy(update={"upstream_token": SecretStr(wrong) if wrong is not None else None})
            async with open_upstream(own) as callers:
                with pytest.raises(Denied, match="does not let us in"):
                    await callers.caller(LOCAL).call_tool(ToolCall(ToolRef("b", "who")))


async def test_nobody_gets_through_a_server_where_the_gateway_would_not_let_them(
    short: Path, settings: Settings
) -> None:
    """A server that is not told who calls cannot check: its caller needs a scope for it."""
    untold = quick("up", InProcessSpec(Upstream(settings).server.lowlevel), trusted=False)
    async with family(short, untold) as pool:
        refused = await call(pool, "a.ask", server="up")
        assert code(refused) == "denied"
        assert "up:use" in refused.text
        may = Principal("ann", "acme", frozenset(), ANN.scopes | {"up:use"})
        assert "a heard" in (await call(pool, "a.ask", may, server="up")).text


async def test_where_there_are_no_unix_sockets_a_loopback_port_does(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short / "run").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(short / "run"))
    async with family(short) as pool:
        address, _, _ = (await call(pool, "a.reveal")).text.split()
        assert address.startswith("http://127.0.0.1:")
        assert (await call(pool, "a.ask", server="b")).text == "a heard: ann of acme after 1"


async def test_a_pool_without_a_way_back_leaves_its_servers_alone(short: Path) -> None:
    with anyio.fail_after(60):
        async with Pool([child("a", short)], internal_key=None) as pool:
            alone = await call(pool, "a.ask", server="b")
    assert code(alone) == "unavailable"
    assert "stoa gateway" in alone.text


def test_a_pass_is_good_for_its_server_until_its_request_ends() -> None:
    passes = Passes("unix:/x")
    a, b = passes.token("a"), passes.token("b")
    word = passes.give("a", ANN, hops=2)
    found = passes.find(a, word)
    assert found is not None
    assert (found.server, found.principal, found.hops) == ("a", ANN, 2)
    assert passes.find(b, word) is None
    assert passes.find("", word) is None
    passes.end(word)
    assert passes.find(a, word) is None
    passes.end(word)
    assert a not in repr(passes) + repr(found)
    assert word not in repr(passes) + repr(found)


# -- as commands -----------------------------------------------------------------------------------------------------


def configured(home: Path) -> tuple[Path, dict[str, str]]:
    """A configuration with two such servers, and the environment of whoever starts it."""
    servers = {name: {"command": command(name)[0], "args": command(name)[1:]} for name in ("a", "b")}
    pools = {name: {"trusted": True} for name in servers}
    # One of ours runs in the process of `stoa up`, which wants at least one.
    servers["content"] = {"command": "stoa", "args": ["serve", "content"]}
    path = home / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers, "stoa": {"pools": pools}}), "utf-8")
    return path, {**os.environ, "STOA_HOME": str(home), "STOA_INTERNAL_KEY": KEY}


def said_by(principal: Principal) -> Any:
    """`_meta` of a request that one of our own processes makes for somebody."""
    return {PRINCIPAL_KEY: sign_assertion(principal, audience="stoa", key=KEY.encode(), now=time.time())}


async def text_of(client: Client, name: str, arguments: dict[str, Any], meta: Any = None) -> str:
    result = await client.call_tool(name, arguments, meta=meta)
    return "".join(block.text for block in result.content if block.type == "text")


@pytest.mark.slow
async def test_stoa_gateway_on_stdio_has_a_way_back_and_leaves_nothing_behind(short: Path) -> None:
    path, environ = configured(short)
    words = ["gateway", "--config", str(path)]
    server = StdioServerParameters(command=str(STOA), args=words, env=environ)
    with anyio.fail_after(90):
        async with Client(server, mode=MODERN, cache=None) as client:
            assert await text_of(client, "a_ask", {"server": "b"}) == "a heard: local of default after 1"
            heard = await text_of(client, "a_ask", {"server": "b"}, said_by(ANN))
            assert heard == "a heard: ann of acme after 1"
            # A pass that a client makes up is dropped at the gateway.
            forged = await text_of(client, "a_ask", {"server": "b"}, {**said_by(ANN), PASS_KEY: "x" * 22})
            assert forged == "a heard: ann of acme after 1"
            assert len(list((short / "run").iterdir())) == 2
        assert list((short / "run").iterdir()) == []

        # Killed, it leaves its socket; the next one, of whatever command, takes it away.
        async with await anyio.open_process([str(STOA), *words], env=environ, stderr=None) as killed:
            await until(lambda: len(list((short / "run").iterdir())) == 2, within_seconds=30)
            killed.kill()
            await killed.wait()
        assert len(list((short / "run").iterdir())) == 2
        called = await anyio.run_process([str(STOA), "--config", str(path), "call", "a.ask", "server=b"], env=environ)
    assert b"a heard: local of default after 1" in called.stdout
    assert list((short / "run").iterdir()) == []


@pytest.mark.slow
async def test_stoa_up_has_a_way_back_for_servers_that_it_starts(short: Path) -> None:
    path, environ = configured(short)
    words = [str(STOA), "--config", str(path), "up", "--port", "0"]
    with anyio.fail_after(90):
        async with await anyio.open_process(words, env=environ, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            said = ""
            while (found := re.search(r"(http://127\.0\.0\.1:\d+/mcp)\s", said)) is None:
                said += (await process.stdout.receive()).decode()
            async with (
                httpx2.AsyncClient(timeout=60) as http,
                Client(streamable_http_client(found[1], http_client=http), mode=MODERN, cache=None) as client,
            ):
                heard = await text_of(client, "a_ask", {"server": "b"}, said_by(ANN))
                assert heard == "a heard: ann of acme after 1"
                inside = await text_of(client, "a_ask", {"server": "content", "tool": "list_documents"})
                assert inside.startswith("a heard:")
                assert "error" not in inside
            process.terminate()
            assert await process.wait() == 0
    assert list((short / "run").iterdir()) == []
