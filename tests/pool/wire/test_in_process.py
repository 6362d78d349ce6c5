"""Servers in this process: what is different from a connection."""

import threading

import anyio
import pytest
from mcp.server import MCPServer

from pool.spec import InProcessSpec
from stoa.errors import OutcomeUnknown
from tests.pool.stage import call, open_pool, quick


async def test_a_tool_that_sits_in_a_thread_does_not_hold_its_caller_past_the_deadline() -> None:
    server, release = MCPServer("here", log_level="ERROR"), threading.Event()

    @server.tool()
    def sit() -> str:
        release.wait(30)
        return "up"

    @server.tool()
    async def echo(text: str) -> str:
        return text

    async with open_pool(quick("one", InProcessSpec(server))) as pool:
        await pool.tools()
        started = anyio.current_time()
        with pytest.raises(OutcomeUnknown, match="did not answer"):
            await call(pool, "one.sit", timeout_seconds=0.2)
        assert anyio.current_time() - started < 5
        assert (await call(pool, "one.echo", {"text": "fine"})).text == "fine"
        release.set()


async def test_a_tool_is_cancelled_with_its_caller() -> None:
    server, cancelled = MCPServer("here", log_level="ERROR"), anyio.Event()

    @server.tool()
    async def wait() -> str:
        try:
            await anyio.sleep(30)
        finally:
            cancelled.set()
        return "never"

    async with open_pool(quick("one", InProcessSpec(server))) as pool:
        await pool.tools()
        with anyio.move_on_after(0.1):
            await call(pool, "one.wait")
        with anyio.fail_after(5):
            await cancelled.wait()
