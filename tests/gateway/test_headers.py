"""Arguments that a tool wants as HTTP headers, too (SEP-2243): checked here, and sent on."""

from typing import Any

import httpx2
import pytest

from kit.author import Server
from kit.serve import http_app
from pool.spec import HttpSpec
from stoa.settings import Settings
from tests.gateway.stage import gateway
from tests.kit.wires import listening
from tests.pool.stage import quick, served

META: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "up_read",
}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}


@pytest.mark.parametrize(
    ("sent", "status"), [({"mcp-param-region": "north"}, 200), ({"mcp-param-region": "south"}, 400), ({}, 400)]
)
async def test_headers_are_compared_with_arguments_and_made_anew_for_the_server(
    settings: Settings, sent: dict[str, str], status: int
) -> None:
    server = Server("regions", version="1", instructions="Regions.", settings=settings)
    got: list[str] = []

    @server.tool(title="Read", scope="regions:read", read_only=True, idempotent=True, schema=SCHEMA)
    async def read(region: str) -> str:
        """Read what a region has."""
        got.append(region)
        return f"all of {region}"

    app = http_app({"regions": server}, settings=settings, host="127.0.0.1", at_root=True)
    async with (
        served(app) as address,
        gateway(settings, quick("up", HttpSpec(f"http://{address}/mcp"))) as (front, _),
        listening(front, settings) as url,
        httpx2.AsyncClient(headers=HEADERS, timeout=30) as http,
    ):
        await front.offers.fresh()
        params = {"name": "up_read", "arguments": {"region": "north"}, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await http.post(url, json=body, headers=sent)

    assert answer.status_code == status
    assert got == (["north"] if status == 200 else [])
    assert ("all of north" in answer.text) == (status == 200)
