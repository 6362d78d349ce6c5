"""What servers refuse, and what cannot be bridged: whoever asked is told why."""

import sys
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from kit.serve import http_app
from pool.spec import HttpSpec, StdioSpec
from stoa.settings import Settings
from tests.gateway.stage import ERAS, HANDSHAKE, MODERN, Answers, client, gateway, passed
from tests.gateway.upstream import Upstream
from tests.pool.stage import SERVERS, quick, served, until


def text(result: Any) -> str:
    return result.content[0].text


@pytest.mark.parametrize("era", ERAS)
async def test_a_question_on_a_connection_that_others_use_is_refused_with_the_reason(
    settings: Settings, era: str
) -> None:
    asking = quick("up", StdioSpec(sys.executable, (str(SERVERS / "asking.py"),)))
    async with (
        gateway(settings, asking) as (front, pool),
        client(front, HANDSHAKE, **Answers("Eve").options()) as other,
        client(front, era, **Answers().options()) as it,
    ):
        shared: Any = None
        alone = await it.call_tool("up_ask_name", {})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.call_tool, "up_wait")
            await until(lambda: pool.stats().groups[0].in_flight == 1)
            shared = await it.call_tool("up_ask_name", {})
            tasks.cancel_scope.cancel()
        await until(lambda: pool.stats().groups[0].in_flight == 0)
        again = await it.call_tool("up_ask_name", {})

    assert "Ada1" in text(alone)
    assert "cannot be told whose call" in text(shared)
    assert "Ada2" in text(again)


async def test_one_tenant_watches_only_so_many_resources(
    upstream: Upstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.watching.MAX_WATCHED_EACH", 2)
    async with passed(upstream.server, f"{HANDSHAKE} client, {MODERN} server", settings) as (it, _):
        for number in range(2):
            await subscribe(it, HANDSHAKE, f"note://{number}")
        with pytest.raises(MCPError, match="2 resources are watched already"):
            await subscribe(it, HANDSHAKE, "note://2")


async def subscribe(it: Client, pair: str, uri: str) -> None:
    if pair.startswith(MODERN):
        async with it.listen(resource_subscriptions=[uri]):
            return
    await it.session.send_request(
        types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri)), types.EmptyResult
    )


@pytest.mark.parametrize(
    ("status", "code", "retryable"), [(503, "unavailable", True), (401, "denied", False), (500, "fault", False)]
)
@pytest.mark.parametrize("era", ERAS)
async def test_what_stands_before_a_server_and_refuses_is_told_to_the_model(
    upstream: Upstream, settings: Settings, status: int, code: str, retryable: bool, era: str
) -> None:
    app = http_app({"upstream": upstream.server}, settings=settings, host="127.0.0.1", at_root=True)
    is_broken = False

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if is_broken and scope["type"] == "http":
            await PlainTextResponse("no", status_code=status)(scope, receive, send)
        else:
            await app(scope, receive, send)

    async with (
        served(proxy) as address,
        gateway(settings, quick("up", HttpSpec(f"http://{address}/mcp"))) as (front, _),
        client(front, era) as it,
    ):
        await it.list_tools()
        is_broken = True
        result = await it.call_tool("up_change", {"id": "x"})
        with pytest.raises(MCPError) as caught:
            await it.read_resource("note://first")

    assert result.is_error
    assert result.structured_content is not None
    assert (result.structured_content["code"], result.structured_content["retryable"]) == (code, retryable)
    assert "'up'" in text(result)
    assert (caught.value.error.data["code"], caught.value.error.data["retryable"]) == (code, retryable)
