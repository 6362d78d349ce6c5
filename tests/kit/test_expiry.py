"""Connections that would outlive their token: WebSockets, listen streams, and the GET stream of the handshake era."""

import json
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx2
import jwt
import pytest
import uvicorn
import websockets
from pydantic import SecretStr

from kit.author import Server
from kit.claims import LEEWAY_SECONDS
from kit.http import build
from kit.identity import Door, identify
from stoa.errors import Denied
from stoa.principal import Principal
from stoa.settings import AuthSettings, Settings
from stoa.wire import WS_SUBPROTOCOL, CloseCode

SECRET = "s" * 32
LEFT_SECONDS = 1.5
ANN = Principal("ann", "acme")
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def headers() -> dict[str, str]:
    """A token of which little more than the leeway is left."""
    claims = {"sub": "ann", "tenant": "acme", "exp": time.time() + LEFT_SECONDS - LEEWAY_SECONDS}
    return {
        "authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}",
        "accept": "application/json, text/event-stream",
    }


@asynccontextmanager
async def serving(home: Path) -> AsyncGenerator[int]:
    """A server behind tokens; gives its port."""
    settings = Settings.model_validate(
        {"home": home, "auth": AuthSettings.model_validate({"secret": SecretStr(SECRET)})}
    )
    server = Server("quiet", version="1", instructions="", settings=settings)
    app = build({"quiet": server}, settings=settings, host="127.0.0.1", at_root=True).app
    runner = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    with anyio.fail_after(20), socket.create_server(("127.0.0.1", 0)) as listener:
        async with app.router.lifespan_context(app), anyio.create_task_group() as group:
            group.start_soon(runner.serve, [listener])
            try:
                yield listener.getsockname()[1]
            finally:
                runner.should_exit = True


def test_a_door_is_shut_when_its_token_ends() -> None:
    door = Door(bearer=ANN, ends_at=100.0)
    assert identify(None, door, audiences=(), key=None, now=99.9) == ANN
    with pytest.raises(Denied, match="expired"):
        identify(None, door, audiences=(), key=None, now=100.0)


async def test_a_websocket_is_closed_when_its_token_ends(home: Path) -> None:
    async with (
        serving(home) as port,
        websockets.connect(
            f"ws://127.0.0.1:{port}/mcp/ws",
            subprotocols=[websockets.Subprotocol(WS_SUBPROTOCOL)],
            additional_headers=headers(),
            proxy=None,
        ) as connection,
    ):
        request = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": META}}
        await connection.send(json.dumps(request))
        assert "result" in json.loads(await connection.recv())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == CloseCode.REFUSED


async def test_a_listen_stream_ends_with_its_token(home: Path) -> None:
    async with serving(home) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        request = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "subscriptions/listen",
            "params": {"notifications": {"resourcesListChanged": True}, "_meta": META},
        }
        names = {"mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen"}
        began = time.monotonic()
        async with http.stream("POST", "/mcp", json=request, headers={**headers(), **names}) as answer:
            assert answer.status_code == 200
            said = "".join([part async for part in answer.aiter_text()])
        assert time.monotonic() - began > LEFT_SECONDS / 2
        assert "The token of this request has expired." in said


async def test_the_stream_of_an_older_session_ends_with_its_token(home: Path) -> None:
    async with serving(home) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        ours = headers()
        opened = await http.post("/mcp", json=INITIALIZE, headers=ours)
        assert opened.status_code == 200
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        async with http.stream("GET", "/mcp", headers={**ours, **session}) as answer:
            assert answer.status_code == 200
            with suppress(httpx2.RemoteProtocolError):  # cut off rather than ended: the same to whoever listens
                assert [part async for part in answer.aiter_bytes()] == []
        again = await http.get("/mcp", headers={**ours, **session})
        assert again.status_code == 401
