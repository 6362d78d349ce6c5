"""Streamable HTTP endpoints that behave badly, and what the pool's HTTP side promises."""

import json
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pool.pool import Pool
from pool.spec import HttpSpec, WsSpec
from stoa.errors import BadInput, Denied, Fault, OutcomeUnknown, StoaError, Unavailable
from stoa.wire import MAX_MESSAGE_BYTES
from tests.pool.stage import call, load, open_pool, quick, served


class Spoiled:
    """The plain server behind something that may answer in its place."""

    def __init__(self) -> None:
        self.app: ASGIApp = load("plain").build().streamable_http_app()
        self.spoil: dict[bytes, Callable[[], Response]] = {}
        self.seen: list[httpx2.Headers] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.seen.append(httpx2.Headers(scope["headers"]))
        request = Request(scope, receive)
        body = await request.body()
        for word, answer in self.spoil.items():
            if word in body:
                await answer()(scope, receive, send)
                return
        sent = False

        async def again() -> dict[str, object]:
            nonlocal sent
            if sent:
                return dict(await receive())
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


@pytest.fixture
async def spoiled() -> AsyncGenerator[tuple[Pool, Spoiled]]:
    app = Spoiled()
    async with served(app) as address:
        spec = HttpSpec(f"http://{address}/mcp", headers={"X-Token": "hunter2-header"}, secrets=("hunter2-header",))
        async with open_pool(quick("one", spec)) as pool:
            await pool.tools()
            yield pool, app


async def test_headers_go_with_every_request_and_into_no_text(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled
    await call(pool, "one.echo", {"text": "x"})
    assert app.seen
    assert all(headers["x-token"] == "hunter2-header" for headers in app.seen)
    app.spoil[b"tools/call"] = lambda: Response("no: hunter2-header", status_code=500)
    with pytest.raises(Fault) as caught:
        await call(pool, "one.write", {"text": "x"})
    spec = HttpSpec("http://user:hunter2@host/mcp?token=hunter2", headers={"X": "hunter2-header"})
    assert "hunter2" not in f"{caught.value} {pool!r} {spec!r} {await pool.status()}"


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Denied), (403, Denied), (400, BadInput), (413, BadInput), (500, Fault), (503, Unavailable)],
)
async def test_a_status_is_told_for_what_it_is_and_costs_no_connection(
    spoiled: tuple[Pool, Spoiled], status: int, error: type[StoaError]
) -> None:
    pool, app = spoiled
    app.spoil[b"tools/call"] = lambda: Response("nope", status_code=status)
    with pytest.raises(error, match=f"HTTP {status}"):
        await call(pool, "one.write", {"text": "x"})
    app.spoil.clear()
    assert "1/1 ready" in repr(pool)
    assert (await call(pool, "one.echo", {"text": "fine"})).text == "fine"


async def test_an_overloaded_server_says_when_to_come_back(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled
    app.spoil[b"tools/call"] = lambda: Response(status_code=429, headers={"Retry-After": "7"})
    with pytest.raises(Unavailable) as caught:
        await call(pool, "one.write", {"text": "x"})
    assert caught.value.retry_after == 7


async def test_an_error_of_the_protocol_with_a_status_is_passed_on(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "the argument x is wrong"}}
    app.spoil[b"tools/call"] = lambda: JSONResponse(body, status_code=400)
    with pytest.raises(BadInput, match="the argument x is wrong"):
        await call(pool, "one.write", {"text": "x"})


async def test_redirects_are_refused(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled
    app.spoil[b"tools/call"] = lambda: RedirectResponse("/mcp?next=1", status_code=307)
    before = len(app.seen)
    with pytest.raises(BadInput, match=r"redirects to http://.*/mcp; redirects are refused"):
        await call(pool, "one.write", {"text": "x"})
    assert len(app.seen) == before + 1


async def test_an_answer_over_the_limit_is_cut_off(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled

    async def endless() -> AsyncGenerator[bytes]:
        yield b'{"jsonrpc":"2.0","id":1,"result":"'
        for _ in range(MAX_MESSAGE_BYTES // 2**16 + 2):
            yield b"x" * 2**16

    app.spoil[b"tools/call"] = lambda: StreamingResponse(endless(), media_type="application/json")
    with pytest.raises(OutcomeUnknown, match="larger than 16 MiB"):
        await call(pool, "one.write", {"text": "x"})
    app.spoil.clear()
    assert (await call(pool, "one.echo", {"text": "fine"})).text == "fine"


async def test_an_event_over_the_limit_is_cut_off(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled

    async def endless() -> AsyncGenerator[bytes]:
        yield b"data: "
        for _ in range(MAX_MESSAGE_BYTES // 2**16 + 2):
            yield b"x" * 2**16

    app.spoil[b"tools/call"] = lambda: StreamingResponse(endless(), media_type="text/event-stream")
    with pytest.raises(OutcomeUnknown, match="larger than 16 MiB"):
        await call(pool, "one.write", {"text": "x"})
    app.spoil.clear()
    assert (await call(pool, "one.echo", {"text": "fine"})).text == "fine"


async def test_a_request_over_the_limit_is_not_sent(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled
    before = len(app.seen)
    with pytest.raises(BadInput, match="larger than 16 MiB"):
        await call(pool, "one.write", {"text": "x" * MAX_MESSAGE_BYTES})
    assert len(app.seen) == before


async def test_an_answer_that_breaks_off_fails_its_own_call_only(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled

    async def half() -> AsyncGenerator[bytes]:
        yield b'{"jsonrpc":"2.0",'
        raise ConnectionError

    app.spoil[b"tools/call"] = lambda: StreamingResponse(half(), media_type="application/json")
    outcome: list[str] = []

    async def ask() -> None:
        outcome.append((await call(pool, "one.slow", {"seconds": 0.5})).text)

    app.spoil = {b'"write"': app.spoil[b"tools/call"]}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        with pytest.raises(OutcomeUnknown, match="cannot be read"):
            await call(pool, "one.write", {"text": "x"})
    assert outcome == ["slept"]


async def test_nobody_listening_is_unavailable_and_names_the_address() -> None:
    async with open_pool(quick("one", HttpSpec("http://127.0.0.1:9/mcp"))) as pool:
        with pytest.raises(Unavailable, match=r"cannot be reached\. http://127\.0\.0\.1:9/mcp") as caught:
            await call(pool, "one.echo")
        assert "url" in caught.value.hint


async def test_a_wrong_path_is_named() -> None:
    async def other(_: Request) -> Response:
        return Response("hello")

    app = Starlette(routes=[Route("/", other)])
    async with served(app) as address, open_pool(quick("one", HttpSpec(f"http://{address}/mcp"))) as pool:
        with pytest.raises(BadInput, match="no MCP endpoint") as caught:
            await call(pool, "one.echo")
        assert "mcpServers.one.url" in caught.value.hint


async def test_a_refused_entry_is_denied() -> None:
    async def closed(_: Request) -> Response:
        return Response(status_code=401)

    app = Starlette(routes=[Route("/mcp", closed, methods=["POST"])])
    async with served(app) as address, open_pool(quick("one", HttpSpec(f"http://{address}/mcp"))) as pool:
        with pytest.raises(Denied, match="HTTP 401") as caught:
            await call(pool, "one.echo")
        assert "mcpServers.one.headers" in caught.value.hint


async def test_an_endpoint_that_went_away_is_connected_to_again_when_it_is_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with open_pool(quick("one", HttpSpec(f"http://127.0.0.1:{port}/mcp"))) as pool:
        async with served(load("plain").build().streamable_http_app(), port=port):
            assert (await call(pool, "one.echo", {"text": "1"})).text == "1"
        with pytest.raises(Unavailable, match="cannot be reached"):
            await call(pool, "one.write", {"text": "x"})  # a write, and yet known not to have been sent
        async with served(load("plain").build().streamable_http_app(), port=port):
            with anyio.fail_after(10):
                while True:
                    try:
                        assert (await call(pool, "one.echo", {"text": "2"})).text == "2"
                        break
                    except Unavailable:
                        await anyio.sleep(0.01)


@asynccontextmanager
async def legacy() -> AsyncGenerator[tuple[str, Spoiled]]:
    app = Spoiled()
    async with served(load("legacy_http").only_legacy(app)) as address:
        yield address, app


async def test_a_session_that_the_server_forgot_is_opened_again() -> None:
    async with legacy() as (address, app), open_pool(quick("one", HttpSpec(f"http://{address}/mcp"))) as pool:
        assert (await pool.status())[0].era == "legacy"

        def forget() -> Response:
            app.spoil.clear()
            return Response(status_code=404)

        app.spoil[b"tools/call"] = forget
        sessions = {headers.get("mcp-session-id") for headers in app.seen}
        assert (await call(pool, "one.write", {"text": "x"})).text == "wrote x"
        assert {headers.get("mcp-session-id") for headers in app.seen} - sessions


@pytest.mark.parametrize(
    "spec",
    [
        HttpSpec("http://127.0.0.1:9/", headers={"X": "hunter2\u2603"}),
        WsSpec("ws://127.0.0.1:9/", headers={"X": "hunter2\r\nY: z"}),
        HttpSpec("http://a b/"),
        WsSpec("ws://" + "a" * 64 + "/"),
    ],
)
async def test_what_cannot_be_asked_for_is_bad_input_and_no_traceback(
    spec: HttpSpec | WsSpec, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(quick("one", spec)) as pool:
        with pytest.raises(BadInput) as caught:
            await call(pool, "one.echo")
    assert "hunter2" not in str(caught.value)
    assert caplog.text == ""


async def test_half_a_character_in_an_answer_costs_that_character_only(spoiled: tuple[Pool, Spoiled]) -> None:
    pool, app = spoiled

    class Half(Response):
        media_type = "application/json"

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        number = json.loads(await Request(scope, receive).body())["id"]
        content = [{"type": "text", "text": "a\ud83db"}]
        result = {"content": content, "structuredContent": {"result": "x"}, "resultType": "complete"}
        await Half(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}))(scope, receive, send)

    plain, app.app = app.app, answer
    try:
        assert (await call(pool, "one.echo", {"text": "x"})).text == "a\ufffdb"
    finally:
        app.app = plain
