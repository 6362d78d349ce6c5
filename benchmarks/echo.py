"""One echo tool, served in different ways: `python -m benchmarks.echo KIND [PORT]`.

The kit as any server of ours is run; beside it a bare POST endpoint (the floor) and the rivals' own ways. All over HTTP
run on the same uvicorn, loop and parser, without an access log, and give plain text without an output schema.
"""

import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

__all__ = ["KINDS"]

DESCRIPTION = "Give the text back."


def serve_kit(port: int) -> None:
    """Streamable HTTP at /mcp and WebSocket at /mcp/ws, or stdio where there is no port."""
    from kit.author import Server
    from kit.serve import run as run_server
    from kit.serve import serve_http, serve_stdio
    from stoa.settings import Settings

    settings = Settings.load(os.environ, default_home=Path(tempfile.gettempdir()) / "stoa-echo")
    server = Server("echo", version="1.0.0", instructions="For benchmarks.", settings=settings)

    @server.tool(title="Echo", scope="echo:read", read_only=True, idempotent=True)
    async def echo(text: str) -> str:
        """Give the text back."""
        return text

    def serve() -> Awaitable[None]:
        if not port:
            return serve_stdio(server)
        return serve_http({"echo": server}, settings=settings, host="127.0.0.1", port=port, at_root=True)

    run_server(serve, settings=settings)


def serve_floor(port: int) -> None:
    """What no server can do without: read a POST of JSON, answer it with JSON."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def answer(request: Request) -> JSONResponse:
        body = await request.json()
        content = [{"type": "text", "text": body["params"]["arguments"]["text"]}]
        return JSONResponse({"jsonrpc": "2.0", "id": body["id"], "result": {"content": content, "isError": False}})

    run(Starlette(routes=[Route("/mcp", answer, methods=["POST"])]), port)


def serve_fastmcp(port: int) -> None:
    """FastMCP by its own door."""
    from fastmcp import FastMCP

    server: FastMCP[Any] = FastMCP("echo", version="1.0.0")

    @server.tool(output_schema=None, description=DESCRIPTION)
    async def echo(text: str) -> str:
        return text

    run(server.http_app(path="/mcp"), port)


def serve_sdk(port: int) -> None:
    """The SDK's own high-level server."""
    from mcp.server import MCPServer

    server = MCPServer("echo", version="1.0.0", log_level="ERROR")

    @server.tool(structured_output=False, description=DESCRIPTION)
    async def echo(text: str) -> str:
        return text

    run(server.streamable_http_app(), port)


def run(app: Any, port: int) -> None:
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,  # clients of one case wait while the others are measured
    )


KINDS: dict[str, Callable[[int], None]] = {
    "kit": serve_kit,
    "floor": serve_floor,
    "fastmcp": serve_fastmcp,
    "sdk": serve_sdk,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 0)
