"""Gateways in front of each other."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import cast

import anyio
import anyio.lowlevel
import pytest
from mcp import Client, MCPError

from gateway.circle import THROUGH_KEY
from gateway.options import Limits, Options
from gateway.server import Gateway
from kit.http import build
from pool.spec import HttpSpec, InProcessSpec
from stoa.settings import Settings
from tests.gateway.stage import ERAS, MODERN, client, gateway
from tests.gateway.upstream import Upstream
from tests.pool.stage import quick, served


async def names(it: Client) -> set[str]:
    return {tool.name for tool in (await it.list_tools()).tools}


async def test_two_in_front_of_each_other_list_everything_once_and_come_to_rest(
    settings: Settings, upstream: Upstream, free_tcp_port_factory: Callable[[], int]
) -> None:
    ports = [free_tcp_port_factory() for _ in "ab"]
    other = Upstream(settings, "other")
    every = Options(list_all=True)
    async with AsyncExitStack() as stack:
        fronts: list[Gateway] = []
        for index, own in enumerate((upstream, other)):
            groups = (
                quick("own", InProcessSpec(own.server.lowlevel)),
                quick("far", HttpSpec(f"http://127.0.0.1:{ports[1 - index]}/mcp")),
            )
            front, _ = await stack.enter_async_context(
                gateway(settings, *groups, options=every, limits=Limits(listing_seconds=1))
            )
            fronts.append(front)
        for front, port in zip(fronts, ports, strict=True):
            app = build({}, settings=settings, host="127.0.0.1", at_root=False, front=front)
            await stack.enter_async_context(app.app.router.lifespan_context(app.app))
            await stack.enter_async_context(served(app, port=port))
        one, two = [await stack.enter_async_context(client(front, MODERN)) for front in fronts]
        with anyio.fail_after(40):
            plain = {name for name in await names(one) if name.startswith("own_")}
            whole = plain | {f"far_{name}" for name in plain}
            for it in (one, two):
                while await names(it) != whole:
                    await anyio.lowlevel.checkpoint()
            result = await one.call_tool("far_own_echo", {"text": "x"})
            with pytest.raises(MCPError, match="Unknown tool"):
                await one.call_tool("far_far_own_echo", {"text": "x"})

            async with one.listen(tools_list_changed=True) as news:
                await two.call_tool("own_grow", {})
                await anext(aiter(news))
                while "far_own_grown" not in await names(one):
                    await anyio.lowlevel.checkpoint()
                more = 0
                with anyio.move_on_after(0.5):
                    async for _ in news:
                        more += 1

    assert (len(upstream.metas), len(other.metas)) == (0, 1)
    assert result.structured_content == {"text": "x"}
    assert more <= 2  # without an end to it: one in 50 ms


@pytest.mark.parametrize("era", ERAS)
async def test_one_behind_another_shows_all_its_tools_to_it_and_a_search_to_others(
    settings: Settings, upstream: Upstream, era: str
) -> None:
    few = Options(search_above=3)
    up = quick("up", InProcessSpec(upstream.server.lowlevel))
    async with (
        gateway(settings, up, options=few) as (inner, _),
        gateway(settings, quick("in", InProcessSpec(inner.lowlevel)), options=Options(list_all=True)) as (outer, _),
        client(outer, era) as it,
        client(inner, era) as direct,
    ):
        listed = await names(it)
        shown = (await direct.list_tools()).tools
        result = await it.call_tool("in_up_echo", {"text": "x"})
        marks = [cast("dict[str, list[str]]", tool.info.wire["_meta"]) for tool in outer.offers.view.tools]

    assert "in_up_ask" in listed
    assert [tool.name for tool in shown] == ["search_tools", "describe_tool", "call_tool"]
    assert not any(THROUGH_KEY in (tool.meta or {}) for tool in shown)
    assert all(len(mark[THROUGH_KEY]) == 1 for mark in marks)
    assert result.structured_content == {"text": "x"}
