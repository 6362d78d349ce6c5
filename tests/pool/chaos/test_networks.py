"""Servers behind a network that goes wrong: closed ports, and connections that hang without anybody being told."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import anyio
import pytest

from pool.balance.policy import BalancePolicy, EjectionPolicy
from pool.spec import GroupSpec, HttpSpec, MemberSpec, WsSpec
from stoa.errors import StoaError, Unavailable
from tests.pool.chaos.load import all_in_use, calling, settled, stats
from tests.pool.chaos.proxy import Proxy, proxied
from tests.pool.stage import call, load, open_pool, quick, served, until

QUICKLY = BalancePolicy(ejection=EjectionPolicy(base_seconds=0.1, max_seconds=0.5), slow_start_seconds=0.0)


@pytest.fixture(params=["http", "http legacy", "ws"])
async def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def proxies(kind: str) -> AsyncGenerator[list[Proxy]]:
    """Three ways to the same server."""
    async with AsyncExitStack() as stack:
        if kind == "ws":
            app = load("sockets").socket_app(load("plain").build())
        else:
            app = load("plain").build().streamable_http_app()
            if kind == "http legacy":
                app = load("legacy_http").only_legacy(app)
        address = await stack.enter_async_context(served(app))
        yield await stack.enter_async_context(proxied(address, 3))


def group(kind: str, proxies: list[Proxy], **options: object) -> GroupSpec:
    members: list[MemberSpec] = [
        WsSpec(f"ws://{proxy.address}/mcp/ws") if kind == "ws" else HttpSpec(f"http://{proxy.address}/mcp")
        for proxy in proxies
    ]
    # Without affinity all of them are used, sessions or not.
    often = {"probe_interval_seconds": 0.2, "probe_timeout_seconds": 0.5, "policy": QUICKLY, "affinity": "none"}
    return quick("one", *members, **{**often, **options})


async def test_readers_do_not_notice_a_port_that_closes_and_opens_again(kind: str, proxies: list[Proxy]) -> None:
    async with open_pool(group(kind, proxies)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}, callers=4) as load:
            await load.more(10)
            proxies[1].close()
            await until(lambda: stats(pool).replicas[1].state in ("ejected", "starting", "stopped"))
            await load.more(40)
            await proxies[1].open()
            await all_in_use(pool)
            await load.more(3, by="one-1")
        assert load.errors == []
        assert settled(pool)


async def test_a_connection_that_hangs_costs_a_few_calls_and_is_used_again_when_it_flows(
    kind: str, proxies: list[Proxy]
) -> None:
    """Half-open: what is sent disappears, and no end of the connection is ever told."""
    async with open_pool(group(kind, proxies, call_timeout_seconds=0.6)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}, callers=4) as load:
            await load.more(10)
            proxies[1].stall()
            await until(lambda: stats(pool).replicas[1].state in ("ejected", "starting"))
            await anyio.sleep(0.6)  # those that were caught run into their deadline
            caught = len(load.errors)
            await load.more(60)
            proxies[1].flow()
            await all_in_use(pool)
            await load.more(3, by="one-1")
        assert caught <= 8
        assert len(load.errors) <= caught + 2, "calls went on into the hole"
        assert all(isinstance(error, Unavailable) for error in load.errors)
        assert settled(pool)


@pytest.mark.parametrize("kind", ["ws"])
async def test_readers_on_a_socket_that_hangs_are_answered_over_another(kind: str, proxies: list[Proxy]) -> None:
    """Their time is long; but the socket is replaced when it answers no probe, and then they are told."""
    async with open_pool(group(kind, proxies, call_timeout_seconds=50)) as pool:
        await pool.status()
        async with calling(pool, "one.slow", {"seconds": 0.02}, callers=4) as load:
            await load.more(10)
            proxies[1].forget()
            await until(lambda: stats(pool).replicas[1].recycled == 1)
            await all_in_use(pool)
            await load.more(3, by="one-1")
        assert load.errors == []
        assert settled(pool)


async def test_with_every_port_closed_callers_are_told_at_once_why(kind: str, proxies: list[Proxy]) -> None:
    async with open_pool(group(kind, proxies)) as pool:
        await pool.status()
        assert (await call(pool, "one.echo", {"text": "x"})).text == "x"
        for proxy in proxies:
            proxy.close()
        for _ in range(8):
            started = anyio.current_time()
            with pytest.raises(StoaError) as caught:
                await call(pool, "one.echo", {"text": "x"}, timeout_seconds=5)
            assert isinstance(caught.value, Unavailable)
            assert anyio.current_time() - started < 5.5
        for proxy in proxies:
            await proxy.open()
        await all_in_use(pool)
        assert (await call(pool, "one.echo", {"text": "back"})).text == "back"
        assert settled(pool)
