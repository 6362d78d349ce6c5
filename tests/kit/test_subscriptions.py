"""Notifications: each tenant hears of its own resources, in both eras, on every wire that can carry them."""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx2
import jwt
import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from pydantic import SecretStr

from kit.subscriptions import Subscriptions
from stoa.principal import Principal, sign_assertion
from stoa.settings import AuthSettings, Settings
from stoa.wire import PRINCIPAL_KEY
from tests.kit.example import Example
from tests.kit.wires import ERAS, Connect, lines, listening, opened, pipes, websocket

SECRET = "s" * 32
KEY = "i" * 32
URI = "example://note/1"


class Heard:
    """What a client is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._more = anyio.Event()

    async def __call__(self, message: Any) -> None:
        match message:
            case types.ResourceUpdatedNotification():
                self._add(f"updated {message.params.uri}")
            case types.ResourceListChangedNotification():
                self._add("list changed")
            case _:
                pass

    def _add(self, said: str) -> None:
        self.said.append(said)
        self._more.set()

    async def until(self, count: int) -> list[str]:
        with anyio.fail_after(5):
            while len(self.said) < count:
                self._more = anyio.Event()
                await self._more.wait()
        return sorted(self.said)


async def subscribe(client: Client, meta: types.RequestParamsMeta | None = None) -> None:
    # The client's own method warns that it is of the handshake era.
    params = types.SubscribeRequestParams(uri=URI, _meta=meta)
    await client.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)


@asynccontextmanager
async def hearing(client: Client, era: str) -> AsyncGenerator[None]:
    """Subscribed to the note; in the handshake era the list of resources is heard of without asking."""
    if era == "2025-11-25":
        await subscribe(client)
        yield
        unsubscribe = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=URI))
        await client.session.send_request(unsubscribe, types.EmptyResult)
        return
    async with client.listen(resources_list_changed=True, resource_subscriptions=[URI]):
        yield


async def test_a_subscriber_hears_of_changes_as_long_as_it_wants_to(connected: Connect, way: str) -> None:
    era, heard = way.split()[1], Heard()
    async with connected(message_handler=heard) as client:
        async with hearing(client, era):
            await client.call_tool("change", {"id": "1"})
            await client.call_tool("change", {"id": "2"})
            assert await heard.until(3) == ["list changed", "list changed", f"updated {URI}"]
        await client.call_tool("say", {"text": "a round trip, so that the server knows"})
        heard.said.clear()
        await client.call_tool("change", {"id": "1"})
        await client.call_tool("say", {"text": "a round trip, so that whatever was sent has come"})
    assert f"updated {URI}" not in heard.said


async def test_a_client_that_did_not_subscribe_hears_nothing_of_a_resource(connected: Connect) -> None:
    heard = Heard()
    async with connected(message_handler=heard) as client:
        await client.call_tool("change", {"id": "1"})
        await client.call_tool("say", {"text": "a round trip, so that whatever was sent has come"})
    assert f"updated {URI}" not in heard.said


@pytest.fixture
def guarded(home: Path) -> Settings:
    auth = AuthSettings.model_validate({"secret": SecretStr(SECRET)})
    return Settings.model_validate({"home": home, "auth": auth, "internal_key": SecretStr(KEY)})


def bearer(tenant: str, scope: str = "*") -> dict[str, str]:
    claims = {"sub": "someone", "tenant": tenant, "scope": scope, "exp": time.time() + 60}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


@asynccontextmanager
async def two_tenants(
    settings: Settings, wire: str, era: str
) -> AsyncGenerator[tuple[tuple[Client, Heard], tuple[Client, Heard]]]:
    """Clients of acme and of bolt, both subscribed to a note of the same name at one server."""
    example = Example(settings)
    mode = "legacy" if era == "2025-11-25" else era
    async with listening(example.server, settings) as url, AsyncExitStack() as stack:
        both: list[tuple[Client, Heard]] = []
        for tenant in ("acme", "bolt"):
            heard = Heard()
            if wire == "ws":
                target = websocket(url, bearer(tenant))
            else:
                http = await stack.enter_async_context(httpx2.AsyncClient(headers=bearer(tenant), timeout=30))
                target = streamable_http_client(url, http_client=http)
            client = await stack.enter_async_context(Client(target, mode=mode, message_handler=heard))
            await stack.enter_async_context(hearing(client, era))
            both.append((client, heard))
        yield both[0], both[1]


@pytest.mark.parametrize("wire", ["http", "ws"])
@pytest.mark.parametrize("era", ERAS)
async def test_two_tenants_do_not_hear_of_each_other(guarded: Settings, wire: str, era: str) -> None:
    async with two_tenants(guarded, wire, era) as ((acme, acme_heard), (bolt, bolt_heard)):
        await acme.call_tool("change", {"id": "1"})
        assert await acme_heard.until(2) == ["list changed", f"updated {URI}"]
        await bolt.call_tool("say", {"text": "a round trip, so that whatever was sent has come"})
        assert bolt_heard.said == []
        await bolt.call_tool("change", {"id": "1"})
        assert await bolt_heard.until(2) == ["list changed", f"updated {URI}"]
        assert len(acme_heard.said) == 2


@pytest.mark.parametrize("era", ERAS)
async def test_tenants_on_one_connection_of_a_pool_subscribe_for_themselves(guarded: Settings, era: str) -> None:
    """A pool carries callers by assertions: what acme changes is told because acme subscribed, not because bolt did."""
    example, heard = Example(guarded), Heard()
    mode = "legacy" if era == "2025-11-25" else era

    def asserting(tenant: str) -> types.RequestParamsMeta:
        principal = Principal("someone", tenant, scopes=frozenset({"*"}))
        value = sign_assertion(principal, audience="example", key=KEY.encode(), now=time.time())
        return cast("types.RequestParamsMeta", {PRINCIPAL_KEY: value})

    async with pipes(example.server) as ends, Client(lines(*ends), mode=mode, message_handler=heard) as client:
        if era == "2025-11-25":
            await subscribe(client, asserting("bolt"))
        for tenant in ("acme", "bolt"):
            result = await client.call_tool("change", {"id": "1"}, meta=asserting(tenant))
            assert not result.is_error
        await client.call_tool("say", {"text": "a round trip"}, meta=asserting("acme"))
    updates = [said for said in heard.said if said.startswith("updated")]
    assert updates == ([f"updated {URI}"] if era == "2025-11-25" else [])


async def test_a_listener_is_told_in_good_order_that_the_server_goes(example: Example, settings: Settings) -> None:
    async with opened(example.server, "http", "2026-07-28", settings=settings) as client:
        with anyio.fail_after(5):
            async with client.listen(resources_list_changed=True) as events:
                example.server.subscriptions.close()
                assert [event async for event in events] == []


async def test_a_list_that_changed_for_everybody_is_told_to_everybody(connected: Connect, example: Example) -> None:
    heard: list[str] = []

    async def hear(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.append("tools")

    async with connected(message_handler=hear) as client:
        if client.protocol_version == "2025-11-25":
            await client.list_tools()
            await _announce(example, heard)
        else:
            async with client.listen(tools_list_changed=True):
                await _announce(example, heard)


async def _announce(example: Example, heard: list[str]) -> None:
    await example.server.announce("tools")
    with anyio.fail_after(5):
        while not heard:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_caller_may_not_read_it_may_not_watch(guarded: Settings, era: str) -> None:
    headers = bearer("acme", "other:read")
    async with opened(Example(guarded).server, "ws", era, settings=guarded, headers=headers) as client:
        with anyio.fail_after(10), pytest.raises(MCPError) as refused:
            async with hearing(client, era):
                pass
    assert "example:read" in refused.value.message


async def test_a_client_that_does_not_read_holds_up_the_news_of_others_once() -> None:
    heard: list[str] = []

    async def never(method: str, params: object) -> None:
        await anyio.sleep_forever()

    async def at_once(method: str, params: object) -> None:
        heard.append(method)

    async def admit(_: str) -> None:
        return None

    subscriptions = Subscriptions(whose=lambda: "acme", admit=admit)
    async with AsyncExitStack() as stack:
        for notify in (never, at_once):
            connection = SimpleNamespace(state={}, exit_stack=stack, notify=notify)
            subscriptions.attend(cast("Any", SimpleNamespace(session=SimpleNamespace(_connection=connection))), "acme")
        with anyio.fail_after(4):
            for _ in range(20):
                await subscriptions.list_changed("tools", tenant="acme")

    assert len(heard) == 20
    assert repr(subscriptions) == "<Subscriptions: 0 streams, 0 connections>"
