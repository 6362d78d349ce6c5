"""HTTP connections of a pool: as many as there are slots, also after another configuration, and whoever only listens
takes none of them."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp_types import ToolAnnotations

from pool.pool import Pool
from pool.spec import HttpSpec
from pool.wire.connection import ACKNOWLEDGED
from stoa.principal import LOCAL
from tests.pool.stage import load, open_pool, quick, served, until


class Gathering:
    """A server whose one tool answers when so many calls are there at the same time."""

    def __init__(self) -> None:
        self.present = 0
        self.wanted = 1
        self.all_there = anyio.Event()
        self.server = MCPServer("gathering", log_level="ERROR", subscriptions=InMemorySubscriptionBus())

        @self.server.tool(annotations=ToolAnnotations(read_only_hint=True))
        async def come() -> str:
            self.present += 1
            if self.present == self.wanted:
                self.all_there.set()
            await self.all_there.wait()
            return "all there"


@pytest.fixture
async def gathering() -> AsyncGenerator[tuple[Gathering, HttpSpec]]:
    found = Gathering()
    async with served(found.server.streamable_http_app()) as address:
        yield found, HttpSpec(f"http://{address}/mcp")


async def come(pool: Pool) -> None:
    await pool.request("one", "tools/call", {"name": "come"}, principal=LOCAL)


async def all_come(pool: Pool, found: Gathering, count: int) -> None:
    found.wanted = count
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(come, pool)


async def test_more_slots_after_a_change_have_connections_of_their_own(gathering: tuple[Gathering, HttpSpec]) -> None:
    found, spec = gathering
    small = quick("one", spec, max_in_flight=1)
    async with open_pool(small) as pool:
        await pool.tools()
        await pool.reconfigure([replace(small, max_in_flight=12)])
        await all_come(pool, found, 12)


async def test_replicas_that_a_change_brings_have_connections_of_their_own(
    gathering: tuple[Gathering, HttpSpec],
) -> None:
    found, spec = gathering
    small = quick("one", spec, max_in_flight=2)
    async with open_pool(small) as pool:
        await pool.tools()
        await pool.reconfigure([replace(small, replicas=6)])
        await all_come(pool, found, 12)


async def test_calls_on_what_goes_leave_connections_for_what_comes(gathering: tuple[Gathering, HttpSpec]) -> None:
    found, spec = gathering
    old = quick("one", spec, max_in_flight=6)
    async with open_pool(old) as pool:
        await pool.tools()
        found.wanted = 12
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for _ in range(6):
                    tasks.start_soon(come, pool)
                await until(lambda: found.present == 6)
                await pool.reconfigure([replace(old, members=(replace(spec, headers={"X-Other": "1"}),))])
                for _ in range(6):
                    tasks.start_soon(come, pool)


async def test_those_who_listen_take_no_connection_from_those_who_call(gathering: tuple[Gathering, HttpSpec]) -> None:
    found, spec = gathering
    begun: list[str] = []

    async def listen(pool: Pool) -> None:
        async with pool.listen("one", filter={"toolsListChanged": True}, principal=LOCAL) as heard:
            async for method, _ in heard:
                begun.append(method)

    async with open_pool(quick("one", spec, max_in_flight=2)) as pool, anyio.create_task_group() as tasks:
        await pool.tools()
        for _ in range(8):
            tasks.start_soon(listen, pool)
        await until(lambda: begun == [ACKNOWLEDGED] * 8, within_seconds=5)
        await all_come(pool, found, 2)
        tasks.cancel_scope.cancel()


async def test_a_server_of_the_handshake_era_keeps_its_slots_beside_its_stream() -> None:
    app = load("legacy_http").only_legacy(load("plain").build().streamable_http_app())
    async with served(app) as address, open_pool(quick("one", HttpSpec(f"http://{address}/mcp"))) as pool:
        await pool.tools()
        lean = pool._http.lean  # pyright: ignore[reportPrivateUsage] - what is held is seen nowhere else
        await until(lambda: "1 held" in repr(lean))
    assert "held" not in repr(lean)
