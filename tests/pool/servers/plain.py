"""A well-behaved server on the plain SDK, with tools that do what their names say. Run: `python plain.py [name]`."""

import os
import sys
import time

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations

SAFE = ToolAnnotations(read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False)


def build(name: str = "plain") -> MCPServer:
    server = MCPServer(name, version="1.2.3", log_level="ERROR")

    @server.tool(annotations=SAFE)
    async def echo(text: str) -> str:
        """Give the text back."""
        return text

    @server.tool(annotations=SAFE)
    async def whoami(ctx: Context) -> dict[str, object]:
        """The process and what came in `_meta`."""
        return {"pid": os.getpid(), "meta": dict(ctx.request_context.meta or {})}

    @server.tool()
    async def write(text: str) -> str:
        """Pretend to write something."""
        return f"wrote {text}"

    @server.tool(annotations=SAFE)
    async def slow(seconds: float, ctx: Context) -> str:
        """Sleep, and tell how far it is. Leaves a line on stderr when it is cancelled."""
        try:
            for step in range(4):
                await ctx.report_progress(step + 1, 4, f"step {step + 1}")
                await anyio.sleep(seconds / 4)
        except BaseException:
            sys.stderr.write("slow was cancelled\n")
            sys.stderr.flush()
            raise
        return "slept"

    @server.tool()
    async def slow_write(seconds: float) -> str:
        """Sleep, not marked as harmless. Leaves a line on stderr when it is cancelled."""
        try:
            await anyio.sleep(seconds)
        except BaseException:
            sys.stderr.write("slow_write was cancelled\n")
            sys.stderr.flush()
            raise
        return "slept"

    @server.tool(annotations=SAFE)
    async def crash() -> str:
        """End the process without an answer."""
        sys.stderr.write("about to crash\n")
        sys.stderr.flush()
        os._exit(3)

    @server.tool()
    async def crash_write() -> str:
        """The same, not marked as harmless."""
        os._exit(3)

    @server.tool(annotations=SAFE)
    async def fail() -> str:
        """A failure of the tool itself."""
        raise ValueError("it did not work")

    @server.tool(annotations=SAFE)
    async def huge(megabytes: int) -> str:
        """A long answer."""
        return "x" * (megabytes * 2**20)

    @server.resource("plain://greeting")
    def greeting() -> str:
        return "hello"

    return server


if __name__ == "__main__":
    if len(sys.argv) > 2:
        time.sleep(float(sys.argv[2]))
    build(*sys.argv[1:2]).run("stdio")
