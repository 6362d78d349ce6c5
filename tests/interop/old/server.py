"""A server as they were written with the SDK before 2.0.

`server.py stdio`, `server.py http PORT`, `server.py stateless PORT` or `server.py sse PORT`. Runs in the
environment of `requirements/interop-mcp1.txt`.
"""

import sys

import anyio
from mcp.server.fastmcp import Context, FastMCP
from mcp.types import Completion, SamplingMessage, TextContent
from pydantic import BaseModel


class Name(BaseModel):
    name: str


def create(port: int, *, stateless: bool) -> FastMCP:
    mcp = FastMCP("old", instructions="Of the time before 2.0.", port=port, stateless_http=stateless, log_level="ERROR")

    @mcp.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @mcp.tool()
    def fail() -> str:
        """Fails."""
        raise ValueError("on purpose")

    @mcp.tool()
    async def count(ctx: Context) -> str:
        """Reports three steps and writes one line into the log."""
        for step in (1, 2, 3):
            await ctx.report_progress(step, 3, f"step {step}")
        await ctx.info("counted")
        return "counted"

    @mcp.tool()
    async def greet(ctx: Context) -> str:
        """Asks the user for a name."""
        answer = await ctx.elicit("Who are you?", Name)
        return f"Hello {answer.data.name}" if answer.action == "accept" else answer.action

    @mcp.tool()
    async def think(ctx: Context) -> str:
        """Has the client's model write something."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text="Think."))
        written = await ctx.session.create_message([message], max_tokens=10)
        return f"thought: {written.content.text if isinstance(written.content, TextContent) else ''}"

    @mcp.tool()
    async def roots(ctx: Context) -> list[str]:
        """Where the client works."""
        return [str(root.uri) for root in (await ctx.session.list_roots()).roots]

    @mcp.tool()
    async def wait(mark: str) -> str:
        """Waits until it is cancelled, and leaves a mark when it is."""
        await anyio.Path(mark + ".begun").touch()
        try:
            return str(await anyio.sleep_forever())
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Path(mark).touch()

    @mcp.tool()
    async def grow(ctx: Context) -> str:
        """Gets another tool."""
        mcp.add_tool(lambda: "new", name="grown", description="Was not there before.")
        await ctx.session.send_tool_list_changed()
        return "grown"

    @mcp.resource("old://text")
    def text() -> str:
        """A text."""
        return "an old text"

    @mcp.resource("old://item/{number}")
    def item(number: str) -> str:
        """An item for every number."""
        return f"item {number}"

    @mcp.prompt()
    def ask_about(topic: str) -> str:
        """A question."""
        return f"What about {topic}?"

    @mcp.completion()
    async def complete(ref, argument, context):
        return Completion(values=[word for word in ("stoa", "stone", "wood") if word.startswith(argument.value)])

    return mcp


def main(way: str, port: int) -> None:
    mcp = create(port, stateless=way == "stateless")
    mcp.run({"stdio": "stdio", "sse": "sse"}.get(way, "streamable-http"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
