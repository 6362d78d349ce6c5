"""Sessions of the handshake era over HTTP: how requests are answered, asked back about, cancelled, and how all ends."""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import httpx2
import mcp_types as types
import pytest
from fastmcp import Context
from mcp.shared.message import ServerMessageMetadata

from kit.author import Server
from kit.http import build
from stoa.settings import Settings
from tests.kit.example import Example
from tests.kit.wires import listening

ACCEPT = {"accept": "application/json, text/event-stream"}
INITIALIZE: dict[str, object] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}

NOTHING: dict[str, object] = {}
CHANGE: dict[str, object] = {
    "jsonrpc": "2.0",
    "id": 8,
    "method": "tools/call",
    "params": {"name": "change", "arguments": {"id": "1"}},
}


def call(
    name: str, *, id: int | str = 2, meta: dict[str, object] | None = None, **arguments: object
) -> dict[str, object]:
    params: dict[str, object] = {"name": name, "arguments": arguments}
    return {
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": params | ({} if meta is None else {"_meta": meta}),
    }


def notification(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


@asynccontextmanager
async def session(server: Server, settings: Settings) -> AsyncGenerator[tuple[httpx2.AsyncClient, str]]:
    """A client whose requests belong to a session, and the address to send them to."""
    async with listening(server, settings) as url, httpx2.AsyncClient(headers=ACCEPT, timeout=30) as http:
        opened = await http.post(url, json=INITIALIZE)
        http.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        http.headers["mcp-protocol-version"] = "2025-11-25"
        await http.post(url, json=notification("notifications/initialized"))
        yield http, url


async def messages(stream: httpx2.Response) -> AsyncIterator[dict[str, object]]:
    async for line in stream.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


async def test_an_answer_is_plain_json_until_a_notification_makes_it_a_stream(
    example: Example, settings: Settings
) -> None:
    async with session(example.server, settings) as (http, url):
        plain = await http.post(url, json=call("count", to=2))
        stream = await http.post(url, json=call("count", to=2, meta={"progressToken": 5}))
    assert plain.headers["content-type"] == "application/json"
    assert plain.headers["mcp-session-id"] == stream.headers["mcp-session-id"]
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.text.count("event: message") == 3


async def test_errors_of_requests_are_answers_with_status_200(example: Example, settings: Settings) -> None:
    async with session(example.server, settings) as (http, url):
        answer = await http.post(url, json={"jsonrpc": "2.0", "id": 3, "method": "tools/sing"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, types.METHOD_NOT_FOUND)


async def test_a_request_that_takes_long_becomes_a_stream_before_its_answer(
    example: Example, settings: Settings
) -> None:
    async with session(example.server, settings) as (http, url):
        with anyio.fail_after(5):
            async with http.stream("POST", url, json=call("wait")) as stream:
                assert stream.headers["content-type"] == "text/event-stream"
                example.release.set()
                (answer,) = [message async for message in messages(stream)]
    assert answer["id"] == 2
    assert "waited" in json.dumps(answer)


@pytest.mark.parametrize("named", [2, "2"])
async def test_a_cancelled_request_is_cancelled_and_answered_so(
    example: Example, settings: Settings, named: int | str
) -> None:
    async with session(example.server, settings) as (http, url):
        with anyio.fail_after(5):
            async with http.stream("POST", url, json=call("wait")) as stream:
                await example.waiting.wait()
                told = await http.post(url, json=notification("notifications/cancelled", requestId=named))
                (answer,) = [message async for message in messages(stream)]
            await example.cancelled.wait()
    assert told.status_code == 202
    assert answer["error"] == {"code": -32800, "message": "Request cancelled"}


async def test_a_client_that_leaves_does_not_cancel_its_call(example: Example, settings: Settings) -> None:
    async with session(example.server, settings) as (http, url):
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: http.post(url, json=call("wait")))
                await example.waiting.wait()
                group.cancel_scope.cancel()
            assert (await http.post(url, json=call("who", id=3))).status_code == 200
            assert not example.cancelled.is_set()
            example.release.set()


async def test_a_client_is_asked_on_the_stream_of_its_request_and_answers_by_another(settings: Settings) -> None:
    server = Server("asking", version="1", instructions="Asks.", settings=settings)

    @server.tool(title="Ask", scope="asking:read", read_only=True, idempotent=True)
    async def ask(ctx: Context) -> str:
        """Ask whether the client is there."""
        about = ServerMessageMetadata(related_request_id=ctx.request_id)
        await ctx.session.send_request(types.PingRequest(), types.EmptyResult, metadata=about)
        return "it is"

    async with session(server, settings) as (http, url):
        with anyio.fail_after(5):
            async with http.stream("POST", url, json=call("ask", id="a")) as stream:
                received = messages(stream)
                asked = await anext(received)
                assert asked["method"] == "ping"
                told = await http.post(url, json={"jsonrpc": "2.0", "id": asked["id"], "result": {}})
                answer = await anext(received)
    assert told.status_code == 202
    assert answer["id"] == "a"
    assert "it is" in json.dumps(answer)


async def test_what_belongs_to_no_request_comes_on_the_one_stream_that_is_held_open(
    example: Example, settings: Settings
) -> None:
    async with session(example.server, settings) as (http, url):
        with anyio.fail_after(5):
            await http.post(url, json={"jsonrpc": "2.0", "id": 7, "method": "tools/list"})
            async with http.stream("GET", url) as standing:
                assert standing.headers["content-type"] == "text/event-stream"
                assert (await http.get(url)).status_code == 409
                await http.post(url, json=CHANGE)
                changed = await anext(messages(standing))
            with anyio.move_on_after(2):
                # The server sees a moment later that the client has left.
                while (await _status_of_get(http, url)) == 409:
                    await anyio.lowlevel.checkpoint()
            assert await _status_of_get(http, url) == 200
    assert changed["method"] == "notifications/resources/list_changed"


async def test_a_session_that_is_deleted_ends_its_requests_and_streams(example: Example, settings: Settings) -> None:
    async with session(example.server, settings) as (http, url):
        with anyio.fail_after(5):
            async with http.stream("GET", url) as standing, http.stream("POST", url, json=call("wait")) as stream:
                await example.waiting.wait()
                assert (await http.delete(url)).status_code == 200
                assert [message async for message in messages(standing)] == []
                (answer,) = [message async for message in messages(stream)]
            await example.cancelled.wait()
        again = await http.post(url, json=call("who"))
    assert answer["error"] == {"code": -32800, "message": "The session has ended."}
    assert again.status_code == 404


async def test_a_session_lives_while_a_request_runs_or_a_stream_is_open(example: Example, settings: Settings) -> None:
    application = build(
        {"example": example.server},
        settings=settings,
        host="127.0.0.1",
        at_root=True,
        max_sessions=1,
        session_idle_seconds=0.01,
    )
    transport = httpx2.ASGITransport(app=application.app)
    async with (
        application.app.router.lifespan_context(application.app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=ACCEPT) as http,
    ):
        with anyio.fail_after(5):
            opened = await http.post("/mcp", json=INITIALIZE)
            named = {"mcp-session-id": opened.headers["mcp-session-id"]}
            rested = await http.post("/mcp", json=call("nap", seconds=0.05), headers=named)
            while (await http.post("/mcp", json=INITIALIZE)).status_code == 503:
                await anyio.lowlevel.checkpoint()
            late = await http.post("/mcp", json=call("who"), headers=named)
    assert "rested" in rested.text
    assert late.status_code == 404


@pytest.mark.parametrize(
    ("method", "body", "changed", "status"),
    [
        ("POST", json.dumps(call("who")), {}, 400),
        ("POST", json.dumps(INITIALIZE), {"accept": "application/json"}, 406),
        ("POST", json.dumps(INITIALIZE), {"content-type": "text/plain"}, 415),
        ("POST", "{", {}, 400),
        ("POST", "[]", {}, 400),
        ("POST", json.dumps([INITIALIZE]), {}, 400),
        ("POST", json.dumps(INITIALIZE | {"id": None}), {}, 400),
        ("POST", json.dumps(call("who")), {"mcp-session-id": "unknown"}, 404),
        ("GET", "", {}, 400),
        ("DELETE", "", {}, 400),
        ("PUT", "", {}, 405),
    ],
)
async def test_what_does_not_begin_or_belong_to_a_session_is_refused(
    example: Example, settings: Settings, method: str, body: str, changed: dict[str, str], status: int
) -> None:
    async with listening(example.server, settings) as url, httpx2.AsyncClient() as http:
        headers = ACCEPT | {"content-type": "application/json"} | changed
        answer = await http.request(method, url, content=body, headers=headers)
    assert answer.status_code == status
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize("id", [None, 1.5, True, [1]])
async def test_a_request_without_a_real_id_is_refused_and_not_taken_for_a_notification(
    example: Example, settings: Settings, id: object
) -> None:
    async with session(example.server, settings) as (http, url):
        answer = await http.post(url, json=call("who") | {"id": id})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, types.INVALID_REQUEST)


async def test_an_initialize_that_fails_begins_no_session(example: Example, settings: Settings) -> None:
    async with listening(example.server, settings) as url, httpx2.AsyncClient(headers=ACCEPT) as http:
        failed = await http.post(url, json={**INITIALIZE, "params": NOTHING})
        named = {"mcp-session-id": failed.headers["mcp-session-id"]}
        again = await http.post(url, json=call("who"), headers=named)
    assert failed.json()["error"]["code"] == types.INVALID_PARAMS
    assert again.status_code == 404


async def test_ending_with_open_sessions_is_no_event(
    example: Example, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(10):
        async with session(example.server, settings) as (http, url), http.stream("GET", url):
            pass
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def _status_of_get(http: httpx2.AsyncClient, url: str) -> int:
    async with http.stream("GET", url) as stream:
        return stream.status_code
