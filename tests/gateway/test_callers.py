"""Who calls: tenants apart, scopes, and servers of ours that call each other through the gateway."""

import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import jwt
import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from gateway.server import Gateway
from kit.upstream import open_upstream
from pool.spec import GroupSpec, InProcessSpec, StdioSpec
from stoa.principal import LOCAL, Principal
from stoa.settings import AuthSettings, Settings
from stoa.tools import ToolCall, ToolRef
from tests.gateway.stage import ERAS, HANDSHAKE, MODERN, Answers, behind, gateway
from tests.gateway.upstream import Upstream
from tests.kit.wires import listening
from tests.pool.stage import quick, until

SECRET = "s" * 40


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    """The gateway's settings with bearer tokens."""
    auth = AuthSettings.model_validate({"secret": SECRET})
    return settings.model_copy(update={"auth": auth})


def token(tenant: str, *scopes: str) -> str:
    claims = {"sub": f"{tenant}-user", "tenant": tenant, "scope": " ".join(scopes), "exp": int(time.time()) + 600}
    return jwt.encode(claims, SECRET, "HS256")


@asynccontextmanager
async def bearer(url: str, era: str, bearer_token: str, **options: Any) -> AsyncGenerator[Client]:
    headers = {"authorization": f"Bearer {bearer_token}"}
    mode: Any = "legacy" if era == HANDSHAKE else era
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, cache=None, **options) as client,
    ):
        yield client


@asynccontextmanager
async def over_http(settings: Settings, *groups: GroupSpec) -> AsyncGenerator[tuple[str, Gateway]]:
    async with gateway(settings, *groups) as (front, _), listening(front, settings) as url:
        yield url, front


@pytest.mark.parametrize("era", ERAS)
async def test_two_tenants_are_told_apart_by_the_server_behind(
    settings: Settings, guarded: Settings, upstream: Upstream, era: str
) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with (
        over_http(guarded, up) as (url, _),
        bearer(url, era, token("acme", "upstream:read")) as acme,
        bearer(url, era, token("zeta", "upstream:read")) as zeta,
    ):
        first = await acme.call_tool("up_who", {})
        second = await zeta.call_tool("up_who", {})
        third = await acme.read_resource("note://first")

    assert first.content[0].text == "acme-user of acme, 0 hops"  # type: ignore[union-attr]  # it is text
    assert second.content[0].text == "zeta-user of zeta, 0 hops"  # type: ignore[union-attr]
    assert third.contents[0].text == "first of acme"  # type: ignore[union-attr]


async def test_a_server_of_ours_checks_the_scopes_itself(guarded: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with over_http(guarded, up) as (url, _), bearer(url, MODERN, token("acme", "upstream:read")) as it:
        result = await it.call_tool("up_change", {"id": "x"})

    assert result.is_error
    assert "upstream:write" in result.content[0].text  # type: ignore[union-attr]  # it is text


async def test_for_a_server_that_is_not_told_who_calls_a_scope_is_needed(guarded: Settings, upstream: Upstream) -> None:
    far = quick("far", InProcessSpec(upstream.server.lowlevel), trusted=False)
    async with over_http(guarded, far) as (url, _):
        async with bearer(url, MODERN, token("acme", "other:use")) as stranger:
            tools = (await stranger.list_tools()).tools
            resources = [str(each.uri) for each in (await stranger.list_resources()).resources]
            refused = await stranger.call_tool("far_echo", {"text": "x"})
            about = await stranger.read_resource("stoa://servers")
            with pytest.raises(MCPError, match="far:use"):
                await stranger.read_resource("note://first")
            with pytest.raises(MCPError, match="far:use"):
                await stranger.get_prompt("far_greet", {"name": "x"})
            with pytest.raises(MCPError, match="far:use"):
                async with stranger.listen(resource_subscriptions=["note://first"]):
                    pass
        async with bearer(url, MODERN, token("acme", "far:use")) as member:
            listed = {tool.name for tool in (await member.list_tools()).tools}

    assert (tools, resources) == ([], ["stoa://servers"])
    assert "far:use" in refused.content[0].text  # type: ignore[union-attr]  # it is text
    assert "far" not in about.contents[0].text  # type: ignore[union-attr]
    assert "far_echo" in listed


async def test_without_a_token_nobody_comes_in(guarded: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with over_http(guarded, up) as (url, _), httpx2.AsyncClient() as http:
        answer = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})

    assert answer.status_code == 401


async def test_a_forged_note_of_who_calls_is_refused_and_none_is_passed_on(
    settings: Settings, upstream: Upstream
) -> None:
    far = quick("far", InProcessSpec(upstream.server.lowlevel), trusted=False)
    async with over_http(settings, far) as (url, _), bearer(url, MODERN, "none") as it:
        with pytest.raises(MCPError, match="not signed with our key"):
            await it.call_tool("far_echo", {"text": "x"}, meta={"io.stoa/principal": "a.b"})
        await it.call_tool("far_echo", {"text": "x"}, meta={"io.stoa/hops": 1, "io.stoa/other": 1})

    (meta,) = upstream.metas
    assert not [key for key in meta if key.startswith("io.stoa/")]


async def test_a_handle_of_another_tenant_opens_nothing(
    settings: Settings, guarded: Settings, upstream: Upstream
) -> None:
    answers = Answers()
    async with (
        behind(upstream.server, HANDSHAKE, settings) as member,
        over_http(guarded, quick("up", member)) as (url, front),
        bearer(url, MODERN, token("acme", "up:use", "upstream:read"), **answers.options()) as acme,
        bearer(url, MODERN, token("zeta", "up:use", "upstream:read"), **answers.options()) as zeta,
    ):
        asked: Any = await acme.session.call_tool("up_ask", {}, allow_input_required=True)
        stolen: Any = await zeta.session.call_tool(
            "up_ask", {}, request_state=asked.request_state, allow_input_required=True
        )
        assert len(front.suspended) == 1

    assert stolen.is_error
    assert "no longer open" in stolen.content[0].text


async def test_a_subscription_that_the_server_refuses_is_an_error(
    settings: Settings, guarded: Settings, upstream: Upstream, pair: str
) -> None:
    ours, _, theirs, _ = pair.split()
    async with (
        behind(upstream.server, theirs, settings) as member,
        over_http(guarded, quick("up", member)) as (url, front),
        bearer(url, ours, token("acme", "other:read")) as stranger,
        bearer(url, ours, token("zeta", "upstream:read")) as reader,
    ):
        with anyio.fail_after(20):
            with pytest.raises(MCPError, match="upstream:read"):
                await subscribe(stranger, ours)
            await until(lambda: "Watching 0" in repr(front))
            await subscribe(reader, ours)


async def subscribe(it: Client, era: str) -> None:
    if era == MODERN:
        async with it.listen(resource_subscriptions=["note://first"]):
            return
    params = types.SubscribeRequestParams(uri="note://first")
    await it.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)


SAYS_SECRETS = StdioSpec(
    sys.executable,
    (
        "-S",
        "-E",
        "-c",
        "import sys; print('hello', flush=True); print('zeta owes 12345', file=sys.stderr); sys.exit(3)",
    ),
)


async def test_what_processes_say_and_what_others_do_is_for_those_who_may_see_inside(
    settings: Settings, guarded: Settings, upstream: Upstream
) -> None:
    groups = (quick("up", InProcessSpec(upstream.server.lowlevel)), quick("bad", SAYS_SECRETS))
    read: dict[str, str] = {}
    async with over_http(guarded, *groups) as (url, front):
        for scope in ("upstream:read", "metrics:read"):
            async with bearer(url, MODERN, token("acme", scope)) as it:
                await until(lambda: set(front.offers.view.offers) == {"up"})
                called = await it.call_tool("bad_x", {})
                about = await it.read_resource("stoa://servers")
                with pytest.raises(MCPError) as caught:
                    await it.get_prompt("bad_x", {})
                read[scope] = f"{called} {about} {caught.value.error}"

    for said in ("'bad'", "exit code was 3"):
        assert said in read["upstream:read"]
    for said in ("12345", "hello", "in_flight", "failures"):
        assert said in read["metrics:read"]
        assert said not in read["upstream:read"]


async def test_prompts_of_servers_that_one_may_not_use_are_not_suggested(guarded: Settings, upstream: Upstream) -> None:
    far = quick("far", InProcessSpec(upstream.server.lowlevel), trusted=False)
    gone = quick("gone", SAYS_SECRETS, trusted=False)
    async with over_http(guarded, far, gone) as (url, _), bearer(url, MODERN, token("acme", "other:use")) as it:
        with pytest.raises(MCPError) as near:
            await it.get_prompt("far_gree", {})
        with pytest.raises(MCPError) as away:
            await it.get_prompt("gone_x", {})
        with pytest.raises(MCPError) as tool:
            await it.call_tool("gone_x", {})

    assert "far_greet" not in str(near.value.error)
    for error in (near, away, tool):
        assert error.value.error.message.startswith("Unknown ")


async def test_a_server_of_ours_calls_another_one_through_the_gateway(settings: Settings, upstream: Upstream) -> None:
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    asked = Principal("eve", "acme", scopes=frozenset({"upstream:read"}))
    async with over_http(settings, up) as (url, _):
        own = settings.model_copy(update={"upstream": url})
        with anyio.fail_after(20):
            async with open_upstream(own) as callers:
                theirs = await callers.caller(asked, hops=2).call_tool(ToolCall(ToolRef("up", "who"), {}))
                ours = await callers.caller(LOCAL, hops=1).call_tool(ToolCall(ToolRef("up", "who"), {}))

    assert theirs.text == "eve of acme, 2 hops"
    assert ours.text == "local of default, 1 hops"
