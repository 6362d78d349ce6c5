"""Calling tools of other servers through a gateway: a real MCP server over HTTP stands in for it."""

import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import mcp_types as types
import pytest
import uvicorn
from mcp.client import Client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue, SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.author import Server as KitServer
from kit.call import current_call
from kit.identity import Door, identify, read_hops
from kit.upstream import on_pass, open_upstream, read_address
from stoa.clock import ManualClock, SystemClock
from stoa.errors import BadInput, Conflict, Denied, Fault, NotFound, OutcomeUnknown, StoaError, Unavailable
from stoa.principal import LOCAL, Principal, sign_assertion
from stoa.settings import Settings
from stoa.tools import ToolCall, ToolCallers, ToolRef
from stoa.wire import HOPS_KEY, MAX_HOPS, PASS_KEY, PRINCIPAL_KEY, SECONDS_KEY, SERVER_KEY

KEY = "k" * 32
ANN = Principal("ann", "acme", frozenset({"editor"}), frozenset({"content:read"}))
CALL = ToolCall(ToolRef("content", "search_documents"), {"query": "stoa", "limit": 3})

Answer = Callable[[ServerRequestContext[Any], types.CallToolRequestParams], Awaitable[types.CallToolResult]]


def said(text: str, **more: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], **more)


@dataclass
class Gateway:
    """What the stand-in was asked, and how it answers."""

    answer: Answer
    address: str = ""
    calls: list[tuple[str, Mapping[str, object]]] = field(default_factory=list[tuple[str, Mapping[str, object]]])
    meta: list[Mapping[str, object]] = field(default_factory=list[Mapping[str, object]])
    methods: list[str] = field(default_factory=list[str])
    tokens: list[bytes | None] = field(default_factory=list[bytes | None])
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def call_tool(
        self, ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        self.calls.append((params.name, params.arguments or {}))
        self.meta.append({**(params.meta or {})})
        return await self.answer(ctx, params)

    def door(self, app: ASGIApp) -> ASGIApp:
        """Notes the token and method of each request, and refuses where the test says so."""

        async def enter(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                headers: dict[bytes, bytes] = dict(scope["headers"])
                self.tokens.append(headers.get(b"authorization"))
                self.methods.append(headers.get(b"mcp-method", b"").decode())
                if self.status is not None:
                    await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers]})
                    await send({"type": "http.response.body", "body": b"no"})
                    return
            await app(scope, receive, send)

        return enter


@asynccontextmanager
async def running(answer: Answer, *, listener: socket.socket | None = None) -> AsyncGenerator[Gateway]:
    gateway = Gateway(answer)
    server: Server[Any] = Server("gateway", on_call_tool=gateway.call_tool)
    app = server.streamable_http_app()
    bound = listener or socket.create_server(("127.0.0.1", 0))
    if bound.family == socket.AF_INET:
        gateway.address = f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"
    config = uvicorn.Config(gateway.door(app), lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=1)
    runner = uvicorn.Server(config)
    with anyio.fail_after(20), bound:
        async with app.router.lifespan_context(app), anyio.create_task_group() as group:
            group.start_soon(runner.serve, [bound])
            try:
                yield gateway
            finally:
                runner.should_exit = True


def settings(address: str | None, **changed: object) -> Settings:
    return Settings.model_validate({"home": Path("/nowhere"), "upstream": address, **changed})


@asynccontextmanager
async def upstream(gateway: Gateway | str | None, **changed: object) -> AsyncGenerator[ToolCallers]:
    address = gateway.address if isinstance(gateway, Gateway) else gateway
    with anyio.fail_after(20):
        async with open_upstream(settings(address, **changed)) as callers:
            yield callers


async def echo(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    return said(params.name, structured_content={"got": params.arguments})


async def fails_with(error: StoaError, callers: ToolCallers, **options: Any) -> StoaError:
    with pytest.raises(type(error)) as raised:
        await callers.caller(LOCAL, hops=1).call_tool(CALL, **options)
    assert type(raised.value) is type(error)
    return raised.value


async def test_a_tool_of_another_server_is_called_by_its_name_at_the_gateway() -> None:
    async with running(echo) as gateway, upstream(gateway) as callers:
        result = await callers.caller(LOCAL, hops=1).call_tool(CALL)
    assert (result.text, result.structured, result.is_error) == (
        "content_search_documents",
        {"got": {"query": "stoa", "limit": 3}},
        False,
    )
    assert gateway.calls == [("content_search_documents", {"query": "stoa", "limit": 3})]


async def test_one_connection_serves_all_calls_and_asks_nothing_else() -> None:
    async with running(echo) as gateway, upstream(gateway) as callers:
        assert "not open" in repr(callers)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(callers.caller(LOCAL).call_tool, CALL)
        assert ": open" in repr(callers)
    assert ": closed" in repr(callers)
    assert gateway.methods == ["tools/call"] * 20


async def test_nothing_is_connected_before_the_first_call() -> None:
    async with running(echo) as gateway, upstream(gateway):
        pass
    assert gateway.methods == []


async def test_the_caller_travels_as_an_assertion_for_the_server_called() -> None:
    async with running(echo) as gateway, upstream(gateway, internal_key=SecretStr(KEY)) as callers:
        await callers.caller(ANN, hops=2).call_tool(CALL)
    meta, now = gateway.meta[0], ManualClock().now().timestamp()
    with pytest.raises(Denied):
        identify(meta, Door(), audiences=("content",), key=KEY.encode(), now=now)
    assert isinstance(meta[PRINCIPAL_KEY], str)
    assert read_hops(meta) == 2


async def test_the_assertion_is_made_anew_and_read_by_the_other_side() -> None:
    clock = ManualClock()
    wanted = settings(None, internal_key=SecretStr(KEY))
    async with running(echo) as gateway:
        with anyio.fail_after(20):
            async with open_upstream(wanted.model_copy(update={"upstream": gateway.address}), clock=clock) as callers:
                caller = callers.caller(ANN, hops=1)
                for _ in range(2):
                    await caller.call_tool(CALL)
                    now = clock.now().timestamp()
                    read = identify(gateway.meta[-1], Door(), audiences=("content",), key=KEY.encode(), now=now)
                    assert read == ANN
                    clock.advance(300)
    assert gateway.meta[0][PRINCIPAL_KEY] != gateway.meta[1][PRINCIPAL_KEY]


async def test_without_a_key_nobody_but_the_local_person_is_spoken_for() -> None:
    async with running(echo) as gateway, upstream(gateway) as callers:
        with pytest.raises(Denied, match="STOA_INTERNAL_KEY"):
            await callers.caller(ANN).call_tool(CALL)
        with pytest.raises(Denied):
            await callers.caller(Principal("local", "acme", LOCAL.roles, LOCAL.scopes)).call_tool(CALL)
        await callers.caller(LOCAL).call_tool(CALL)
    assert [PRINCIPAL_KEY in meta for meta in gateway.meta] == [False]


async def test_the_gateway_gets_its_own_token_and_no_message_repeats_it() -> None:
    async with running(echo) as gateway, upstream(gateway, upstream_token=SecretStr("hunter2")) as callers:
        await callers.caller(LOCAL).call_tool(CALL)
        gateway.status = 401
        error = await fails_with(Denied(""), callers)
        assert "STOA_UPSTREAM_TOKEN" in str(error)
        assert "hunter2" not in str(error) + repr(callers)
    assert gateway.tokens == [b"Bearer hunter2"] * 2


async def test_alone_every_call_is_unavailable_and_says_what_to_start() -> None:
    async with upstream(None) as callers:
        error = await fails_with(Unavailable(""), callers)
    assert "stoa gateway" in error.hint
    assert "content.search_documents" in error.message


@pytest.mark.parametrize("hops", [MAX_HOPS + 1, MAX_HOPS + 7])
async def test_a_call_beyond_the_hop_limit_is_not_sent(hops: int) -> None:
    async with running(echo) as gateway, upstream(gateway) as callers:
        await callers.caller(LOCAL, hops=MAX_HOPS).call_tool(CALL)
        with pytest.raises(Denied, match="circle"):
            await callers.caller(LOCAL, hops=hops).call_tool(CALL)
    assert len(gateway.calls) == 1


async def test_servers_that_call_each_other_in_a_circle_are_stopped() -> None:
    """Each call comes back to the same server, which asks again, one hop further."""
    ways: list[ToolCallers] = []

    async def ask_again(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        hops = read_hops(params.meta)
        try:
            inner = await ways[0].caller(LOCAL, hops=hops + 1).call_tool(CALL)
        except Denied as error:
            return said(str(error), is_error=True, structured_content={"code": error.code})
        return said(inner.text, is_error=inner.is_error)

    async with running(ask_again) as gateway, upstream(gateway) as callers:
        ways.append(callers)
        result = await callers.caller(LOCAL).call_tool(CALL)
    assert result.is_error
    assert "circle" in result.text
    assert [meta.get(HOPS_KEY) for meta in gateway.meta] == list(range(MAX_HOPS + 1))


async def test_a_tools_own_failure_stays_a_result() -> None:
    async def fail(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        return said("No.", is_error=True, structured_content={"code": "conflict", "hint": "Read again."})

    async with running(fail) as gateway, upstream(gateway) as callers:
        result = await callers.caller(LOCAL).call_tool(CALL)
    assert (result.is_error, result.text, result.structured) == (
        True,
        "No.",
        {"code": "conflict", "hint": "Read again."},
    )


async def test_every_kind_of_block_comes_through_as_it_is() -> None:
    blocks: list[types.ContentBlock] = [
        types.TextContent(type="text", text="one"),
        types.ImageContent(type="image", data="AAAA", mime_type="image/png"),
        types.EmbeddedResource(
            type="resource", resource=types.TextResourceContents(uri="content://document/1", text="two")
        ),
    ]

    async def answer(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=blocks)

    async with running(answer) as gateway, upstream(gateway) as callers:
        result = await callers.caller(LOCAL).call_tool(CALL)
    assert [(block.kind, block.text) for block in result.blocks] == [
        ("text", "one"),
        ("image", ""),
        ("resource", "two"),
    ]
    assert result.blocks[1].wire == {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    assert result.text == "one"


async def test_progress_is_passed_on() -> None:
    async def work(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        await ctx.session.report_progress(1, 2, "half")
        return said("done")

    told: list[tuple[float, float | None, str | None]] = []

    async def tell(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async with running(work) as gateway, upstream(gateway) as callers:
        await callers.caller(LOCAL).call_tool(CALL, progress=tell)
    assert told == [(1, 2, "half")]


async def test_a_large_result_comes_through_in_an_event_stream_too() -> None:
    large = "x" * 3_000_000

    async def work(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        await ctx.session.report_progress(1, 2, None)
        return said(large)

    async def ignore(done: float, total: float | None, message: str | None) -> None:
        pass

    async with running(work) as gateway, upstream(gateway) as callers:
        assert (await callers.caller(LOCAL).call_tool(CALL)).text == large
        assert (await callers.caller(LOCAL).call_tool(CALL, progress=ignore)).text == large


NO = "It said no."
FAULT = Fault("The gateway answered content_search_documents with the error -32603.")
PROTOCOL_ERRORS: list[tuple[int, JsonValue, StoaError]] = [
    (-32602, None, NotFound(NO)),
    (-32602, {"code": "not_found", "message": "Unknown tool: 'x'."}, NotFound("Unknown tool: 'x'.")),
    (-32061, {"code": "denied", "message": "Not you.", "hint": "Ask."}, Denied("Not you.", hint="Ask.")),
    (-32062, {"code": "conflict", "message": "Too late."}, Conflict("Too late.")),
    (
        -32063,
        {"code": "unavailable", "message": "Busy.", "retry_after_seconds": 2},
        Unavailable("Busy.", retry_after=2),
    ),
    (-32603, None, FAULT),
    (-32603, {"code": "something new"}, FAULT),
    (-32603, ["denied"], FAULT),
]


async def test_errors_of_the_protocol_become_errors_of_ours() -> None:
    coming = iter(PROTOCOL_ERRORS)

    async def refuse(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        code, data, _ = next(coming)
        raise MCPError(code=code, message=NO, data=data)

    async with running(refuse) as gateway, upstream(gateway) as callers:
        for _, _, expected in PROTOCOL_ERRORS:
            raised = await fails_with(expected, callers)
            assert (raised.message, raised.hint, raised.retry_after) == (
                expected.message,
                expected.hint,
                expected.retry_after,
            )


STATUSES: list[tuple[int, tuple[tuple[bytes, bytes], ...], StoaError]] = [
    (401, (), Denied("")),
    (403, (), Denied("")),
    (404, (), BadInput("")),
    (405, (), BadInput("")),
    (421, (), BadInput("")),
    (413, (), BadInput("")),
    (429, ((b"retry-after", b"7"),), Unavailable("", retry_after=7)),
    (503, ((b"retry-after", b"soon"),), Unavailable("")),
    (500, (), Fault("")),
    (502, (), OutcomeUnknown("")),
    (504, (), OutcomeUnknown("")),
    (307, ((b"location", b"https://elsewhere.example/mcp"),), BadInput("")),
]


async def test_a_status_without_a_message_says_enough_and_the_next_call_goes_through() -> None:
    async with running(echo) as gateway, upstream(gateway) as callers:
        for status, headers, expected in STATUSES:
            gateway.status, gateway.headers = status, headers
            assert (await fails_with(expected, callers)).retry_after == expected.retry_after
            gateway.status = None
            assert (await callers.caller(LOCAL).call_tool(CALL)).text == "content_search_documents"


async def test_no_answer_in_time_leaves_the_outcome_unknown_and_stops_the_work() -> None:
    stopped = anyio.Event()

    async def hang(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError

    async with running(hang) as gateway, upstream(gateway) as callers:
        error = await fails_with(OutcomeUnknown(""), callers, timeout_seconds=0.2)
        assert "0.2 s" in error.message
        await stopped.wait()


async def test_a_caller_that_gives_up_stops_the_work() -> None:
    started, stopped = anyio.Event(), anyio.Event()

    async def hang(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError

    async with running(hang) as gateway, upstream(gateway) as callers, anyio.create_task_group() as group:
        group.start_soon(callers.caller(LOCAL).call_tool, CALL)
        await started.wait()
        group.cancel_scope.cancel()
    assert stopped.is_set()


async def test_a_gateway_that_is_not_there_is_unavailable_until_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port: int = placeholder.getsockname()[1]
    async with upstream(f"http://127.0.0.1:{port}") as callers:
        for _ in range(2):
            error = await fails_with(Unavailable(""), callers)
            assert "stoa gateway" in error.hint
        async with running(echo, listener=socket.create_server(("127.0.0.1", port))):
            assert (await callers.caller(LOCAL).call_tool(CALL)).text == "content_search_documents"


async def test_a_gateway_that_breaks_off_fails_one_call_and_no_other() -> None:
    """A raw socket: it promises a hundred bytes, sends a few and hangs up."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    heads = [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\n: hi\n\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        b"no http at all",
        b"",
    ]
    served = 0

    async def serve(stream: anyio.abc.SocketStream) -> None:
        nonlocal served
        async with stream:
            await stream.receive()
            head, served = heads[served], served + 1
            if head:
                await stream.send(head)

    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        async with upstream(f"http://127.0.0.1:{port}/mcp") as callers:
            for kind in (OutcomeUnknown, OutcomeUnknown, Fault, BadInput, OutcomeUnknown, OutcomeUnknown):
                await fails_with(kind(""), callers)
        group.cancel_scope.cancel()


async def test_calls_in_flight_end_when_the_server_shuts_down() -> None:
    started = anyio.Event()
    errors: list[StoaError] = []

    async def hang(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def ask(callers: ToolCallers) -> None:
        try:
            await callers.caller(LOCAL).call_tool(CALL)
        except StoaError as error:
            errors.append(error)

    async with running(hang) as gateway, anyio.create_task_group() as group:
        async with upstream(gateway) as callers:
            group.start_soon(ask, callers)
            await started.wait()
        with pytest.raises(Unavailable, match="closed"):
            await callers.caller(LOCAL).call_tool(CALL)
    assert [type(error) for error in errors] == [OutcomeUnknown]


async def test_a_unix_socket_is_a_gateway_too() -> None:
    with tempfile.TemporaryDirectory() as folder:  # shorter than tmp_path: such a path has 107 bytes at most
        path = Path(folder) / "gateway.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        async with running(echo, listener=listener), upstream(f"unix:{path}") as callers:
            assert (await callers.caller(LOCAL).call_tool(CALL)).text == "content_search_documents"


async def test_a_question_to_a_person_cannot_be_answered() -> None:
    async def ask(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> Any:
        return types.InputRequiredResult(request_state="s")

    async with running(ask) as gateway, upstream(gateway) as callers:
        await fails_with(Unavailable(""), callers)


async def test_a_tool_of_ours_calls_on_for_whoever_called_it(home: Path) -> None:
    """A server of the kit as its caller sees it: one hop more, the same person, for the next server only."""
    wanted = settings(None, internal_key=SecretStr(KEY), home=home)
    assertion = sign_assertion(ANN, audience="support", key=KEY.encode(), now=SystemClock().now().timestamp())
    async with running(echo) as gateway:
        server = build_server("support", settings=wanted.model_copy(update={"upstream": gateway.address}))
        async with Client(server.lowlevel) as client:
            meta: Any = {PRINCIPAL_KEY: assertion, HOPS_KEY: 1}
            result = await client.call_tool("ask_on", {}, meta=meta)
            assert not result.is_error, result.content
            denied = await client.call_tool("ask_on", {}, meta=meta | {HOPS_KEY: MAX_HOPS})
            assert denied.structured_content is not None
            assert denied.structured_content["code"] == "denied"
    assert [meta[HOPS_KEY] for meta in gateway.meta] == [2]
    now = SystemClock().now().timestamp()
    assert identify(gateway.meta[0], Door(), audiences=("content",), key=KEY.encode(), now=now) == ANN
    with pytest.raises(Denied):
        identify(gateway.meta[0], Door(), audiences=("support",), key=KEY.encode(), now=now)


async def test_a_pass_goes_along_only_when_one_of_our_own_processes_gave_it(home: Path) -> None:
    wanted = settings(None, internal_key=SecretStr(KEY), home=home)
    assertion = sign_assertion(ANN, audience="support", key=KEY.encode(), now=SystemClock().now().timestamp())
    async with running(echo) as gateway:
        server = build_server("support", settings=wanted.model_copy(update={"upstream": gateway.address}))
        async with Client(server.lowlevel) as client:
            given: Any = {PRINCIPAL_KEY: assertion, PASS_KEY: "word"}
            await client.call_tool("ask_on", {}, meta=given)
            made_up: Any = {PASS_KEY: "word"}
            await client.call_tool("ask_on", {}, meta=made_up)
    assert [(meta.get(PASS_KEY), meta.get(SERVER_KEY)) for meta in gateway.meta] == [("word", "content"), (None, None)]
    assert all(PRINCIPAL_KEY in meta for meta in gateway.meta)


async def test_on_a_pass_the_deadline_travels_and_is_the_pools(home: Path) -> None:
    async with running(echo) as gateway, upstream(gateway, internal_key=SecretStr(KEY)) as callers:
        on_it = on_pass(callers, {PRINCIPAL_KEY: "checked", PASS_KEY: "word"})
        await on_it.caller(ANN).call_tool(CALL, timeout_seconds=7)
        await on_it.caller(ANN).call_tool(CALL)
        await callers.caller(ANN).call_tool(CALL, timeout_seconds=7)
    assert [meta.get(SECONDS_KEY) for meta in gateway.meta] == [7, None, None]


async def test_the_client_side_of_the_protocol_is_loaded_at_the_first_call(home: Path) -> None:
    program = (
        "import anyio, sys\n"
        "from pathlib import Path\n"
        "from kit.upstream import open_upstream\n"
        "from stoa.settings import Settings\n"
        "async def main():\n"
        "    async with open_upstream(Settings(home=Path('.'), upstream='unix:/nowhere.sock')):\n"
        "        print('kit.upstream_link' in sys.modules, 'mcp.client' in sys.modules)\n"
        "anyio.run(main)\n"
    )
    done = await anyio.run_process([sys.executable, "-c", program])
    assert done.stdout.split() == [b"False", b"False"]


async def test_a_server_of_ours_that_runs_alone_says_so(home: Path) -> None:
    server = build_server("support", settings=settings(None, home=home))
    async with Client(server.lowlevel) as client:
        result = await client.call_tool("ask_on", {})
    assert result.structured_content is not None
    assert (result.structured_content["code"], result.structured_content["retryable"]) == ("unavailable", True)


def build_server(name: str, *, settings: Settings) -> KitServer:
    server = KitServer(name, version="1", instructions="", settings=settings)

    @server.tool(title="Ask on", scope="content:read", read_only=True, idempotent=True)
    async def ask_on() -> str:  # pyright: ignore[reportUnusedFunction]  # the decorator uses it
        """Ask another server."""
        return (await current_call().tools.call_tool(CALL)).text

    return server


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/mcp"),
        ("http://localhost:8080/", "http://localhost:8080/mcp"),
        ("http://[::1]:8080/mcp", "http://[::1]:8080/mcp"),
        ("https://127.0.0.1/gateway", "https://127.0.0.1/gateway"),
        ("unix:/run/stoa.sock", "unix:/run/stoa.sock"),
        ("unix:///run/stoa.sock", "unix:/run/stoa.sock"),
    ],
)
def test_addresses_on_this_machine_need_no_token(given: str, url: str) -> None:
    assert str(read_address(settings(given))) == url


@pytest.mark.parametrize(
    "given",
    ["http://gateway:8080/mcp", "https://gateway.example/mcp", "http://10.0.0.1", "http://127.0.0.1.evil.example"],
)
def test_another_machine_needs_a_token(given: str) -> None:
    with pytest.raises(BadInput, match="STOA_UPSTREAM_TOKEN"):
        read_address(settings(given))
    assert read_address(settings(given, upstream_token=SecretStr("t"))).url.startswith(given)


@pytest.mark.parametrize(
    "given",
    [
        "gateway",
        "ftp://127.0.0.1",
        "http://",
        "http://[::1",
        "http://127.0.0.1:http",
        "unix:relative",
        "unix:",
        "http://user:hunter2@127.0.0.1/mcp",
        "http://127.0.0.1/mcp?token=hunter2",
        "http://127.0.0.1/mcp#x",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(given: str) -> None:
    with pytest.raises(BadInput, match="STOA_UPSTREAM") as refusal:
        read_address(settings(given))
    assert "hunter2" not in str(refusal.value)


async def test_wrong_settings_are_refused_before_anything_runs() -> None:
    for changed in ({"upstream": "http://gateway"}, {"internal_key": SecretStr("short")}):
        with pytest.raises(BadInput):
            async with open_upstream(settings("http://127.0.0.1:1").model_copy(update=changed)):
                raise AssertionError


async def test_an_error_of_the_server_itself_passes_through_as_it_is() -> None:
    async with running(echo) as gateway:
        for calls in (0, 1):
            with pytest.raises(Conflict):
                await _fail_after(calls, gateway)


async def _fail_after(calls: int, gateway: Gateway) -> None:
    async with upstream(gateway) as callers:
        for _ in range(calls):
            await callers.caller(LOCAL).call_tool(CALL)
        raise Conflict("Somebody was faster.")
