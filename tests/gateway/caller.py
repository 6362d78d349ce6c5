"""A server of the kit as a pool starts it: `python caller.py NAME`. Its tools call tools of other servers."""

import os
import sys
from pathlib import Path

import anyio

from kit.author import Server
from kit.call import current_call
from kit.serve import run, serve_stdio
from kit.upstream import open_upstream
from stoa.settings import Settings
from stoa.tools import ToolCall, ToolCaller, ToolCallers, ToolRef

__all__ = ["command"]


def command(name: str) -> list[str]:
    return [sys.executable, __file__, name]


def build(name: str, settings: Settings, callers: ToolCallers) -> Server:
    server = Server(name, version="1", instructions="", settings=settings, tools=callers)
    tool = server.tool(title="A tool", scope=f"{name}:read", read_only=True, idempotent=True)

    @tool
    async def who() -> str:
        """Who calls, and on which way."""
        call = current_call()
        return f"{call.principal.subject} of {call.principal.tenant} after {call.hops}"

    @tool
    async def ask(server: str, tool: str = "who") -> str:
        """Call a tool of another server."""
        result = await current_call().tools.call_tool(ToolCall(ToolRef(server, tool)), progress=current_call().progress)
        return f"{name} heard: {result.text}" if not result.is_error else f"{name} heard the error: {result.text}"

    @tool
    async def ask_quickly(server: str, tool: str, seconds_to_wait: float) -> str:
        """Call a tool of another server that has no time."""
        await current_call().tools.call_tool(ToolCall(ToolRef(server, tool)), timeout_seconds=seconds_to_wait)
        return "in time"

    @tool
    async def circle(other: str) -> str:
        """Have the other server do the same with this one."""
        call = ToolCall(ToolRef(other, "circle"), {"other": name})
        result = await current_call().tools.call_tool(call)
        return f"{name}, {result.text}"

    @tool
    async def count() -> str:
        """Tell how far it is."""
        for step in range(3):
            await current_call().progress(step + 1, 3, f"step {step + 1}")
        return "counted"

    @tool
    async def wait() -> str:
        """Wait until somebody cancels it, and leave a note of it."""
        try:
            await anyio.sleep_forever()
        finally:
            (settings.home / f"{name}.cancelled").touch()
        return ""

    @tool
    async def reveal() -> str:
        """What only this process should know."""
        return f"{os.environ['STOA_UPSTREAM']} {os.environ['STOA_UPSTREAM_TOKEN']} {os.environ['STOA_INTERNAL_KEY']}"

    kept: list[ToolCaller] = []

    @tool
    async def remember() -> str:
        """Keep the way to other servers beyond the call."""
        kept.append(current_call().tools)
        return "kept"

    @tool
    async def ask_with_another(server: str) -> str:
        """Call with what an earlier call has left."""
        return (await kept[0].call_tool(ToolCall(ToolRef(server, "who")))).text

    return server


async def main(name: str) -> None:
    settings = Settings.load(os.environ, default_home=Path("/nowhere"))
    async with open_upstream(settings) as callers:
        await serve_stdio(build(name, settings, callers))


if __name__ == "__main__":
    own = Settings.load(os.environ, default_home=Path("/nowhere"))
    run(lambda: main(sys.argv[1]), settings=own)
