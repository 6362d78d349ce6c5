"""Guests who do not behave: they leave in the middle of a word, or leave their sessions behind."""

import anyio
import anyio.lowlevel
import httpx2

from kit.http import build
from stoa.settings import Settings
from tests.kit.example import Example

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
        session_idle_seconds=0.05,
    )
    transport = httpx2.ASGITransport(app=application.app)
    async with (
        application.app.router.lifespan_context(application.app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http,
    ):

        async def open_session() -> int:
            return (await http.post("/mcp", json=INITIALIZE, headers={"accept": ACCEPT})).status_code

        assert [await open_session() for _ in range(3)] == [200, 200, 503]
        with anyio.fail_after(5):
            while await open_session() != 200:
                await anyio.lowlevel.checkpoint()
