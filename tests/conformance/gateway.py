"""The official suite again, with our gateway between it and its server: nothing may be lost on the way.

The suite speaks HTTP only. So this is also how stdio and WebSocket are judged by it.
"""

import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from pydantic import JsonValue

from tests.conformance.process import free_port, script, server_environment, serving

__all__ = ["WAYS", "Way", "command", "gateway"]

ROOT: Final = Path(__file__).parents[2]
EVERYTHING: Final = "tests.conformance.everything"


@dataclass(frozen=True, slots=True)
class Way:
    """How the gateway reaches the server. `port` is where that is served, for what is not started by the gateway."""

    name: str
    is_handshake: bool = False
    """The server is one of before 2026-07-28."""

    def entry(self, port: int | None, home: Path) -> Mapping[str, JsonValue]:
        """What `mcp.json` says of it."""
        if port is None:
            own: dict[str, JsonValue] = {"PYTHONPATH": str(ROOT), "STOA_HOME": str(home)}
            return {"command": sys.executable, "args": ["-m", EVERYTHING], "env": own}
        return {"url": f"ws://127.0.0.1:{port}/mcp/ws" if self.name == "ws" else f"http://127.0.0.1:{port}/mcp"}


WAYS: Final = (Way("stdio"), Way("http"), Way("ws"), Way("http session", is_handshake=True))


async def command(way: Way, folder: Path, *, upstream: int | None) -> tuple[str, ...]:
    """The command line of a gateway in front of the server of all scenarios; it speaks stdio unless told otherwise."""
    config = anyio.Path(folder / "mcp.json")
    entry = way.entry(None if way.name == "stdio" else upstream, folder / "upstream")
    await config.parent.mkdir(parents=True, exist_ok=True)
    await config.write_text(json.dumps({"mcpServers": {"everything": entry}}), encoding="utf-8")
    options = ("--server", "everything", "--no-prefix", "--list-all")
    return script("stoa"), "gateway", "--config", str(config), *options


@asynccontextmanager
async def gateway(way: Way, folder: Path, *, upstream: int | None) -> AsyncGenerator[str]:
    """The same over HTTP; its address."""
    port = free_port()
    serve = (*await command(way, folder, upstream=upstream), "--transport", "http", "--port", str(port))
    environment = server_environment(folder / "home")
    async with serving(serve, port=port, environment=environment, log=folder / "gateway.log"):
        yield f"http://127.0.0.1:{port}/mcp"
