"""Gateways in front of the echo server, ours and others, each a process of its own that answers HTTP at /mcp."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from anyio.abc import Process

from benchmarks.environment import environment
from tests.conformance.process import script, server_environment, serving

__all__ = ["NAME", "UPSTREAMS", "Gateway", "echo", "fastmcp", "mcp_proxy", "ours"]

NAME = "echo"
UPSTREAMS = ("http", "ws", "stdio")


@dataclass(frozen=True, slots=True)
class Gateway:
    """How one is started. `files` are written into its folder first; `tool` is what it calls the echo."""

    name: str
    command: tuple[str, ...]
    port: int
    tool: str = "echo"
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[Path, str] = field(default_factory=dict[Path, str])

    def running(self, folder: Path) -> AbstractAsyncContextManager[Process]:
        for path, text in self.files.items():
            path.write_text(text, "utf-8")
        variables = {**server_environment(folder / self.name), **self.variables}
        return serving(self.command, port=self.port, environment=variables, log=folder / f"{self.name}.log")


def echo(port: int, *, key: str) -> Gateway:
    """The server behind all of them, where it is called over HTTP and WebSocket. It believes assertions with `key`."""
    command = (sys.executable, "-m", "benchmarks.echo", "kit", str(port))
    return Gateway("direct", command, port, variables={"STOA_INTERNAL_KEY": key})


def ours(upstream: str, *, server_port: int, port: int, folder: Path, key: str) -> Gateway:
    """`stoa gateway` as users run it, with the server trusted: each call tells it who calls."""
    entry: Mapping[str, object] = {
        "http": {"type": "http", "url": f"http://127.0.0.1:{server_port}/mcp"},
        "ws": {"type": "ws", "url": f"ws://127.0.0.1:{server_port}/mcp/ws"},
        "stdio": {"command": sys.executable, "args": ["-m", "benchmarks.echo", "kit"], "cwd": os.getcwd()},
    }[upstream]
    config = folder / f"mcp-{upstream}.json"
    document = {"mcpServers": {NAME: entry}, "stoa": {"pools": {NAME: {"trusted": True}}}}
    return Gateway(
        f"ours-{upstream}",
        (script("stoa"), "gateway", "--transport", "http", "--port", str(port), "--config", str(config)),
        port,
        tool=f"{NAME}_echo",
        variables={"STOA_INTERNAL_KEY": key},
        files={config: json.dumps(document)},
    )


def fastmcp(kind: str, *, server_port: int, port: int) -> Gateway:
    """`create_proxy`, "fresh" or "connected"."""
    url = f"http://127.0.0.1:{server_port}/mcp"
    return Gateway(f"fastmcp-{kind}", (sys.executable, "-m", "benchmarks.rival_gateways", kind, url, str(port)), port)


def mcp_proxy(*, port: int) -> Gateway:
    """The bridge from stdio to HTTP, which starts the echo server itself. It would log each request otherwise."""
    program = str(environment("mcp-proxy") / "mcp-proxy")
    options = ("--host", "127.0.0.1", "--port", str(port), "--log-level", "ERROR", "--pass-environment", "--")
    return Gateway("mcp-proxy", (program, *options, sys.executable, "-m", "benchmarks.echo", "kit"), port)
