"""What goes with a call of the new era: sealed state, traces, headers, and streams that begin only when they must."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jwt
import pytest
from pydantic import SecretStr

from kit.serve import http_app
from stoa.settings import AuthSettings, Settings
from tests.kit.example import Example
from tests.kit.wires import listening

SECRET = "s" * 32
META: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


def headers(name: str, tenant: str | None = None) -> dict[str, str]:
    said = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": name,
    }
    if tenant is not None:
        claims = {"sub": "someone", "tenant": tenant, "scope": "*", "exp": time.time() + 60}
        said["authorization"] = f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"
    return said


def call(name: str, *, meta: dict[str, object] | None = None, **params: object) -> dict[str, object]:
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "_meta": META | (meta or {}), **params},
    }


@asynccontextmanager
async def in_memory(settings: Settings) -> AsyncGenerator[httpx2.AsyncClient]:
    """A replica: a server of its own on the settings."""
    app = http_app({"example": Example(settings).server}, settings=settings, host="127.0.0.1", at_root=True)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8080") as http,
    ):
        yield http


async def text(answer: httpx2.Response) -> Any:
    return answer.json()["result"]["content"][0]["text"]


async def test_state_sealed_by_one_replica_opens_on_another_and_for_no_other_tenant(home: Path) -> None:
    auth = AuthSettings.model_validate({"secret": SecretStr(SECRET)})
    settings = Settings.model_validate({"home": home, "auth": auth})
    elsewhere = settings.model_copy(update={"home": home / "elsewhere"})
    async with in_memory(settings) as one, in_memory(settings) as two, in_memory(elsewhere) as stranger:
        asked = (await one.post("/mcp", json=call("book"), headers=headers("book", "acme"))).json()["result"]
        assert asked["resultType"] == "input_required"
        assert "seat" not in asked["requestState"]
        again = call("book", inputResponses={"sure": {"action": "accept"}}, requestState=asked["requestState"])
        done = await two.post("/mcp", json=again, headers=headers("book", "acme"))
        other = await two.post("/mcp", json=again, headers=headers("book", "bolt"))
        foreign = await stranger.post("/mcp", json=again, headers=headers("book", "acme"))
    assert await text(done) == "booked seat 12"
    assert other.json()["error"]["code"] == foreign.json()["error"]["code"] == -32602


async def test_a_call_belongs_to_the_trace_that_its_caller_names(settings: Settings) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    meta: dict[str, object] = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    async with in_memory(settings) as http:
        traced = await http.post("/mcp", json=call("trace_id", meta=meta), headers=headers("trace_id"))
        free = await http.post("/mcp", json=call("trace_id"), headers=headers("trace_id"))
    assert await text(traced) == trace
    assert await text(free) == "0" * 32


async def test_an_answer_is_plain_json_until_a_notification_makes_it_a_stream(settings: Settings) -> None:
    async with in_memory(settings) as http:
        arguments = {"to": 2}
        plain = await http.post("/mcp", json=call("count", arguments=arguments), headers=headers("count"))
        meta: dict[str, object] = {"progressToken": 5}
        stream = await http.post("/mcp", json=call("count", arguments=arguments, meta=meta), headers=headers("count"))
    assert plain.headers["content-type"] == "application/json"
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.text.count("event: message") == 3
    assert '"progressToken":5,"progress":1.0' in stream.text.replace('"progress":1,', '"progress":1.0,')


async def test_a_client_that_leaves_without_a_word_cancels_its_call(example: Example, settings: Settings) -> None:
    async with listening(example.server, settings) as url, httpx2.AsyncClient(timeout=30) as http:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:

                async def ask() -> None:
                    await http.post(url, json=call("wait"), headers=headers("wait"))

                group.start_soon(ask)
                await example.waiting.wait()
                group.cancel_scope.cancel()
            await example.cancelled.wait()


async def test_an_unknown_method_is_404_and_an_unknown_tool_400(settings: Settings) -> None:
    async with in_memory(settings) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/sing", "params": {"_meta": META}}
        method = await http.post("/mcp", json=body, headers=headers("") | {"mcp-method": "tools/sing"})
        tool = await http.post("/mcp", json=call("sya"), headers=headers("sya"))
    assert (method.status_code, method.json()["error"]["code"]) == (404, -32601)
    assert (tool.status_code, tool.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("hops", [5, -1, "many", True])
async def test_a_call_that_has_come_through_too_many_servers_is_refused(settings: Settings, hops: object) -> None:
    async with in_memory(settings) as http:
        answer = await http.post("/mcp", json=call("who", meta={"io.stoa/hops": hops}), headers=headers("who"))
    assert answer.json()["error"]["data"]["code"] in {"denied", "bad_input"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"a": "\\udc00"}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"a": NaN}}',
        '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": ' + b"9" * 5000 + b', "method": "tools/list"}',
    ],
)
async def test_a_body_that_only_a_lenient_reader_would_take_is_no_json(settings: Settings, body: bytes) -> None:
    async with in_memory(settings) as http:
        said = headers("") | {"mcp-method": "tools/list", "content-type": "application/json"}
        answer = await http.post("/mcp", content=body, headers=said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)


@pytest.mark.parametrize("id", [None, True, 1.5, [1]])
async def test_a_request_with_an_impossible_id_is_no_request(settings: Settings, id: object) -> None:
    async with in_memory(settings) as http:
        body = {"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": {"_meta": META}}
        answer = await http.post("/mcp", json=body, headers=headers("") | {"mcp-method": "tools/list"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
