"""Other people's gateways in front of the echo server: `python -m benchmarks.rival_gateways KIND URL PORT`.

FastMCP in two ways: `create_proxy(url)`, which opens a client for each request, and `create_proxy(client)` with a
client that is connected already, which is the fastest that it can do. Both on the uvicorn that ours runs on.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import uvicorn
from fastmcp import Client
from fastmcp.server import create_proxy

__all__ = ["KINDS"]


async def serve_fresh(url: str, port: int) -> None:
    await _serve(create_proxy(url, name="echo"), port)


async def serve_connected(url: str, port: int) -> None:
    async with Client(url) as client:
        await _serve(create_proxy(client, name="echo"), port)


async def _serve(proxy: Any, port: int) -> None:
    config = uvicorn.Config(
        proxy.http_app(path="/mcp"),
        host="127.0.0.1",
        port=port,
        http="httptools",
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,  # clients of one case wait while the others are measured
    )
    await uvicorn.Server(config).serve()


KINDS: dict[str, Callable[[str, int], Awaitable[None]]] = {"fresh": serve_fresh, "connected": serve_connected}

if __name__ == "__main__":
    has_uvloop = sys.platform != "win32"
    anyio.run(KINDS[sys.argv[1]], sys.argv[2], int(sys.argv[3]), backend_options={"use_uvloop": has_uvloop})
