"""Space around a header's value is no part of the value (RFC 9110, 5.5)."""

from pathlib import Path

import httpx
from pydantic import JsonValue

from kit.author import Server
from kit.serve import http_app
from stoa.settings import Settings

VERSION = "2026-07-28"
META: dict[str, JsonValue] = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def test_a_header_that_repeats_the_tools_name_may_have_space_behind_it(home: Path) -> None:
    settings = Settings.load({}, default_home=home)
    server = Server("echo", version="1.0.0", instructions="For a test.", settings=settings)

    @server.tool(title="Echo", scope="echo:read", read_only=True, idempotent=True)
    async def echo(text: str) -> str:
        """Give the text back."""
        return text

    app = http_app({"echo": server}, settings=settings, host="127.0.0.1", at_root=True)
    params: dict[str, JsonValue] = {"name": "echo", "arguments": {"text": "stoa"}, "_meta": META}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "echo \t",
    }
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:80") as client,
    ):
        body: dict[str, JsonValue] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await client.post("/mcp", json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["result"]["content"][0]["text"] == "stoa"
