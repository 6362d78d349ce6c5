"""Guests who do not behave: they leave in the middle of a word, or leave their sessions behind."""

import logging
import time
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx2
import jwt
import pytest
from pydantic import SecretStr

from kit.http import build
from stoa.settings import AuthSettings, Settings
from tests.kit.example import Example
from tests.kit.wires import listening

SECRET = "s" * 32
ACCEPT = "application/json, text/event-stream"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


async def test_sessions_are_limited_and_those_that_were_left_make_room(example: Example, settings: Settings) -> None:
    application = build(
        {"example": example.server},
        settings=settings,
        host="127.0.0.1",
        at_root=True,
        max_sessions=2,
        session_idle_seconds=600,
    )
    transport = httpx2.ASGITransport(app=application.app)
    async with (
        application.app.router.lifespan_context(application.app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http,
    ):

        async def open_session() -> httpx2.Response:
            return await http.post("/mcp", json=INITIALIZE, headers={"accept": ACCEPT})

        async def call(opened: httpx2.Response, name: str) -> int:
            params: dict[str, object] = {"name": name, "arguments": {}}
            body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
            headers = {"accept": ACCEPT, "mcp-session-id": opened.headers["mcp-session-id"]}
            return (await http.post("/mcp", json=body, headers=headers)).status_code

        first, second = await open_session(), await open_session()
        assert await call(first, "who") == 200
        third = await open_session()
        assert [await call(each, "who") for each in (first, second, third)] == [200, 404, 200]
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for each in (first, third):
                    tasks.start_soon(call, each, "wait")
                    await example.waiting.wait()
                    example.waiting = anyio.Event()
                assert (await open_session()).status_code == 503
                example.release.set()
            assert (await open_session()).status_code == 200


@pytest.mark.parametrize("era", ["mcp-protocol-version: 2026-07-28\r\n", ""])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_event(
    example: Example, settings: Settings, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    head = (
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Accept: {ACCEPT}\r\n{era}Content-Length: 1000\r\n\r\n{{"
    )
    async with listening(example.server, settings) as url:
        with anyio.fail_after(10):
            caplog.clear()
            async with await anyio.connect_tcp("127.0.0.1", urlsplit(url).port or 0) as guest:
                await guest.send(head.encode())
                await anyio.wait_all_tasks_blocked()
            async with httpx2.AsyncClient() as http:
                assert (await http.get(url.replace("/mcp", "/health"))).status_code == 200
            await anyio.wait_all_tasks_blocked()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_connections_are_limited_silent_ones_among_them(example: Example, settings: Settings) -> None:
    async with listening(example.server, settings, max_connections=2) as url, httpx2.AsyncClient() as http:
        health = url.replace("/mcp", "/health")
        with anyio.fail_after(10):
            async with (
                await anyio.connect_tcp("127.0.0.1", urlsplit(url).port or 0) as one,
                await anyio.connect_tcp("127.0.0.1", urlsplit(url).port or 0) as two,
            ):
                for silent in (one, two):
                    await silent.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
                await anyio.wait_all_tasks_blocked()
                assert (await http.get(health)).status_code == 503
                await two.aclose()
                while (await http.get(health)).status_code != 200:
                    await anyio.lowlevel.checkpoint()


async def test_who_opens_many_sessions_takes_none_from_others(home: Path) -> None:
    auth = AuthSettings.model_validate({"secret": SecretStr(SECRET)})
    guarded = Settings.model_validate({"home": home, "auth": auth})
    application = build(
        {"example": Example(guarded).server}, settings=guarded, host="127.0.0.1", at_root=True, max_sessions=4
    )

    def headers(tenant: str) -> dict[str, str]:
        claims = {"sub": "someone", "tenant": tenant, "scope": "*", "exp": time.time() + 60}
        return {"accept": ACCEPT, "authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}

    transport = httpx2.ASGITransport(app=application.app)
    async with (
        application.app.router.lifespan_context(application.app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http,
    ):
        opened = await http.post("/mcp", json=INITIALIZE, headers=headers("zeta"))
        for _ in range(10):
            assert (await http.post("/mcp", json=INITIALIZE, headers=headers("acme"))).status_code == 200
        named = headers("zeta") | {"mcp-session-id": opened.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        mine = await http.post("/mcp", json=ping, headers=named)
        theirs = await http.post("/mcp", json=ping, headers=named | headers("acme"))

    assert (mine.status_code, theirs.status_code) == (200, 404)
