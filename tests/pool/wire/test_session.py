"""One raw session on every transport: lists, listening, what is sent, what is left alone, and how it ends."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from pool.spec import HttpSpec, InProcessSpec, MemberSpec, SseSpec, WsSpec
from pool.wire.asker import Asker
from pool.wire.child import LastWords
from pool.wire.failures import Refusal
from pool.wire.lists import param_headers
from stoa.errors import BadInput, Denied, Unavailable
from tests.pool.stage import load, raw, served, until
from tests.pool.wire.lab import Exchange, answering, connected, json_answer, scripted


class Hearing:
    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []

    def __call__(self, method: str, params: Mapping[str, Any]) -> None:
        self.heard.append((method, params.get("uri")))


@pytest.fixture
def bus() -> InMemorySubscriptionBus:
    return InMemorySubscriptionBus()


@pytest.fixture(params=["http", "ws", "in process"])
async def member(request: pytest.FixtureRequest, bus: InMemorySubscriptionBus) -> AsyncGenerator[MemberSpec]:
    """A server of 2026-07-28 whose changes are made by the test."""
    server = MCPServer("changing", version="1", log_level="ERROR", subscriptions=bus)

    @server.tool()
    async def who() -> str:
        return "me"

    async with AsyncExitStack() as stack:
        if request.param == "http":
            yield HttpSpec(f"http://{await stack.enter_async_context(served(server.streamable_http_app()))}/mcp")
        elif request.param == "ws":
            app = load("sockets").socket_app(server)
            yield WsSpec(f"ws://{await stack.enter_async_context(served(app))}/mcp/ws")
        else:
            yield InProcessSpec(server)


async def test_changes_are_told_to_whoever_asked_for_them(member: MemberSpec, bus: InMemorySubscriptionBus) -> None:
    of_connection, of_listener = Hearing(), Hearing()
    async with connected(member, on_notice=of_connection) as one, anyio.create_task_group() as tasks:

        async def listen() -> None:
            wanted = {"resourceSubscriptions": ["test://one"]}
            await one.listen(filter=wanted, meta={}, on_notice=of_listener)

        tasks.start_soon(listen)
        updated = "notifications/resources/updated"
        with anyio.fail_after(10):
            while (updated, "test://one") not in of_listener.heard:
                await bus.publish(ResourceUpdated("test://one"))
                await bus.publish(ResourceUpdated("test://two"))
                await bus.publish(ToolsListChanged())
                await anyio.sleep(0.01)
        await until(lambda: ("notifications/tools/list_changed", None) in of_connection.heard)
        assert {method for method, _ in of_listener.heard} <= {updated, "notifications/subscriptions/acknowledged"}
        assert (updated, "test://two") not in of_listener.heard
        assert updated not in {method for method, _ in of_connection.heard}
        tasks.cancel_scope.cancel()


async def test_what_is_in_the_parameters_is_left_alone_but_for_what_the_revision_wants() -> None:
    seen: list[dict[str, Any]] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange.message["params"])
        await exchange.say(json_answer({**answering("fine"), "io.other/key": [1]}, exchange.id))

    params = {"name": "x", "io.other/field": {"a": 1}, "_meta": {"io.other/key": 5, "progressToken": "theirs"}}
    asker = Asker(key="ann", capabilities={"elicitation": {}})
    async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
        result = await one.request("tools/call", params, asker=asker)
    assert result["io.other/key"] == [1]
    assert seen[0]["io.other/field"] == {"a": 1}
    meta = seen[0]["_meta"]
    assert meta["io.other/key"] == 5
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {"elicitation": {}}
    assert "progressToken" not in meta
    assert params["_meta"] == {"io.other/key": 5, "progressToken": "theirs"}


async def test_arguments_that_a_schema_marks_become_headers() -> None:
    schema = {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer"}},
    }
    assert param_headers(schema, {"region": "eu\u00e9", "n": 1}) == {"Mcp-Param-Region": "=?base64?ZXXDqQ==?="}
    assert param_headers({"type": "object"}, {"region": "eu"}) == {}


MIXED: list[object] = [
    {"name": 5},
    {"name": "good", "inputSchema": {"type": "object"}},
    "no tool",
    {"name": "unschematic"},
    {"name": "two", "inputSchema": {"type": "object", "properties": {"a": {"type": "array", "x-mcp-header": "A"}}}},
]


async def test_a_malformed_tool_hides_only_itself_over_http(caplog: pytest.LogCaptureFixture) -> None:
    async def script(exchange: Exchange) -> None:
        more = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        await exchange.say(json_answer({"tools": MIXED, **more}, exchange.id))

    with caplog.at_level(logging.WARNING):
        async with scripted(script) as address, connected(HttpSpec(f"http://{address}/")) as one:
            tools = await one.list_all("tools/list", "tools")
    assert [tool["name"] for tool in tools] == ["good"]
    assert caplog.text.count("left out") == 4


@pytest.mark.parametrize("habit", ["modern", "legacy"])
async def test_a_malformed_tool_hides_only_itself_over_stdio(habit: str, caplog: pytest.LogCaptureFixture) -> None:
    async with connected(raw("malformed", habit)) as one:
        assert [tool["name"] for tool in await one.list_all("tools/list", "tools")] == ["echo", "pid"]
    assert "left out" in caplog.text


async def test_a_list_that_the_server_does_not_offer_is_empty() -> None:
    async with connected(raw()) as one:
        assert await one.list_all("prompts/list", "prompts") == ()
    async with connected(raw("modern")) as one:
        assert await one.list_all("prompts/list", "prompts") == ()


async def test_a_list_without_end_is_refused() -> None:
    async with connected(raw("endless")) as one:
        with pytest.raises(Refusal, match="does not end"):
            await one.list_all("tools/list", "tools")


async def test_stderr_is_kept_and_masked() -> None:
    words = LastWords(secrets=("hunter2-key",))
    async with connected(raw("print-secret", env={"API_KEY": "hunter2-key"}), words=words) as one:
        await until(lambda: len(words.lines()) == 1)
        assert "my key is ***" in words.lines()[0]
        assert "hunter2" not in words.lines()[0]
        assert one.pid is not None


async def test_a_session_is_said_goodbye_to() -> None:
    seen: list[str] = []
    app = load("legacy_http").only_legacy(load("plain").build().streamable_http_app())

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope.get("method", ""))
        await app(scope, receive, send)

    async with served(watched) as address, connected(HttpSpec(f"http://{address}/mcp")) as one:
        assert one.is_session
        await one.ping()
    assert seen[-1] == "DELETE"


async def test_over_sse_a_server_of_2024_is_spoken_to() -> None:
    async with served(load("asking").sse_app()) as address:
        async with connected(SseSpec(f"http://{address}/sse")) as one:
            assert one.is_session
            assert not one.is_modern
            await one.ping()
            assert len(await one.list_all("tools/list", "tools")) == 5
        with pytest.raises(BadInput, match="no stream of events"):
            async with connected(SseSpec(f"http://{address}/nowhere")):
                pass
    with pytest.raises(Unavailable, match="cannot be reached"):
        async with connected(SseSpec("http://127.0.0.1:9/sse")):
            pass


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def script(exchange: Exchange) -> None:
        seen.append(exchange.head.partition("\r\n")[0])
        await exchange.say(json_answer(answering("fine"), exchange.id))

    async with scripted(script) as address:
        monkeypatch.setenv("http_proxy", f"http://{address}")
        monkeypatch.setenv("no_proxy", "")
        async with connected(HttpSpec("http://stoa.invalid/mcp")) as one:
            assert (await one.request("tools/call", {"name": "x"}))["content"][0]["text"] == "fine"
    assert seen == ["POST http://stoa.invalid/mcp HTTP/1.1"]


async def test_a_server_that_lets_nobody_in_is_denied_without_a_second_try() -> None:
    seen: list[str] = []

    async def closed(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["method"])
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await closed(scope, receive, send)

    async with served(app) as address:
        with pytest.raises(Denied):
            async with connected(HttpSpec(f"http://{address}/mcp")):
                pass
    assert seen == ["POST"]
