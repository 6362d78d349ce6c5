"""The gateway on every wire, and as a command."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters

from pool.spec import InProcessSpec
from stoa.settings import Settings
from tests.gateway.stage import ERAS, HANDSHAKE, MODERN, Answers, gateway
from tests.gateway.upstream import Upstream
from tests.kit.wires import WIRES, listening, opened
from tests.pool.stage import SERVERS, quick

STOA = Path(sys.executable).with_name("stoa")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("wire", WIRES)
async def test_it_serves_both_eras_on_every_wire(settings: Settings, upstream: Upstream, wire: str, era: str) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with (
        gateway(settings, up) as (front, _),
        opened(front, wire, era, settings=settings, cache=None, **Answers().options()) as client,
    ):
        if era == HANDSHAKE:
            capabilities = client.server_capabilities.model_dump(by_alias=True)
            instructions = client.instructions
        else:
            found = await client.session.send_discover(MODERN)
            capabilities, instructions = found["capabilities"], found["instructions"]
        assert capabilities["tools"]["listChanged"] is True
        assert capabilities["resources"]["subscribe"] is True
        assert "these servers: up." in str(instructions)
        names = {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("up_echo", {"text": "hello"})
        asked = await client.call_tool("up_ask", {})

    assert "up_echo" in names
    assert result.structured_content == {"text": "hello"}
    assert asked.content[0].text == "accept Ada1"  # type: ignore[union-attr]  # it is text


async def test_what_the_pool_counts_is_among_the_metrics(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with gateway(settings, up) as (front, _), listening(front, settings) as url:
        async with opened(front, "memory", MODERN, settings=settings) as client:
            await client.call_tool("up_echo", {"text": "x"})
            await client.call_tool("up_echo", {"text": "x"})
        async with httpx2.AsyncClient() as http:
            shown = (await http.get(url.replace("/mcp", "/metrics"))).text
            health = (await http.get(url.replace("/mcp", "/health"))).json()

    assert 'stoa_mcp_requests_total{method="tools/call",outcome="ok",server="stoa",tool="up_echo"} 2.0' in shown
    assert 'stoa_pool_connections{server="up"} 1.0' in shown
    assert health["name"] == "stoa"


def configuration(folder: Path) -> Path:
    path = folder / "mcp.json"
    command = {"command": sys.executable, "args": [str(SERVERS / "plain.py")]}
    path.write_text(json.dumps({"mcpServers": {"plain": command}}), "utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("era", ERAS)
async def test_stoa_gateway_on_stdio(tmp_path: Path, home: Path, era: str) -> None:
    words = ["gateway", "--config", str(configuration(tmp_path)), "--server", "plain"]
    server = StdioServerParameters(command=str(STOA), args=words, env=dict(os.environ))
    mode: Any = "legacy" if era == HANDSHAKE else era
    heard: list[float] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    with anyio.fail_after(60):
        async with Client(server, mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            echo = await client.call_tool("plain_echo", {"text": "hello"})
            await client.call_tool("plain_slow", {"seconds": 0.1}, progress_callback=tell)
            greeting = await client.read_resource("plain://greeting")
            crash = await client.call_tool("plain_crash_write", {})
            again = await client.call_tool("plain_echo", {"text": "again"})

    assert {"plain_echo", "plain_slow"} <= names
    assert echo.content[0].text == "hello"  # type: ignore[union-attr]  # it is text
    assert heard == [1.0, 2.0, 3.0, 4.0]
    assert greeting.contents[0].text == "hello"  # type: ignore[union-attr]
    assert crash.is_error
    assert "outcome_unknown" in str(crash.structured_content) or "may or may not" in str(crash.content)
    assert again.content[0].text == "again"  # type: ignore[union-attr]


@pytest.mark.slow
async def test_stoa_gateway_follows_its_configuration(tmp_path: Path, home: Path) -> None:
    path = configuration(tmp_path)
    server = StdioServerParameters(command=str(STOA), args=["gateway", "--config", str(path)], env=dict(os.environ))
    with anyio.fail_after(60):
        async with Client(server, mode=MODERN, cache=None) as client, client.listen(tools_list_changed=True) as news:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "plain_echo" in names
            entries = json.loads(path.read_text("utf-8"))
            entries["mcpServers"]["other"] = entries["mcpServers"]["plain"]
            path.write_text(json.dumps(entries), "utf-8")
            while "other_echo" not in names:
                await anext(aiter(news))
                names = {tool.name for tool in (await client.list_tools()).tools}
            result = await client.call_tool("other_echo", {"text": "x"})

    assert result.content[0].text == "x"  # type: ignore[union-attr]  # it is text
