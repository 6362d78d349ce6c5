"""Entries for other MCP clients that work when pasted: absolute paths, and the few variables that a bare start lacks.

A client starts its servers in a folder of its own with almost no environment, so nothing may depend on either. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Literal

from pydantic import JsonValue

from host.launch import Launch

__all__ = ["CLIENTS", "Client", "entry", "gateway_entry", "holder", "is_gateway", "where_to_paste"]

Client = Literal["claude-desktop", "claude-code", "cursor", "vscode"]
CLIENTS: tuple[Client, ...] = ("claude-desktop", "claude-code", "cursor", "vscode")

_PASSED_ON = ("STOA_ROOTS", "STOA_LOG_LEVEL")
"""Variables that change what a server does and hold no secret. Secrets belong into the client's own store."""


def entry(
    client: Client, launches: Sequence[Launch], *, command: Sequence[str], home: PurePath, environ: Mapping[str, str]
) -> dict[str, JsonValue]:
    """The document to paste. `command` is how `stoa` is started, with absolute paths."""
    shared = _environment(home, environ)
    servers: dict[str, JsonValue] = {}
    for launch in launches:
        kind: dict[str, JsonValue] = {"type": "stdio"} if client in ("vscode", "claude-code") else {}
        args: list[JsonValue] = [*command[1:], "serve", launch.server, *launch.anywhere().args]
        env: dict[str, JsonValue] = {**shared, **launch.env}
        servers[launch.name] = {**kind, "command": command[0], "args": args, "env": env}
    return {holder(client): servers}


def holder(client: Client) -> str:
    """The key of the client's file that holds its servers."""
    return "servers" if client == "vscode" else "mcpServers"


def gateway_entry(
    *, command: Sequence[str], config: PurePath, servers: Sequence[str], home: PurePath, environ: Mapping[str, str]
) -> dict[str, JsonValue]:
    """One entry for `stoa gateway`, which stands for all servers of `config`, or for those that are named.

    The configuration is always named: a client may start its servers in any folder, and a `mcp.json` that lies there is
    not the one that was meant.
    """
    chosen = [word for name in servers for word in ("--server", name)]
    return {
        "type": "stdio",
        "command": command[0],
        "args": [*command[1:], "--config", str(config), "gateway", *chosen],
        "env": {**_environment(home, environ)},
    }


def is_gateway(value: JsonValue) -> bool:
    """Whether an entry is one of ours: it starts `stoa … gateway …`, or this package by `python -m host`."""
    if not isinstance(value, dict):
        return False
    command, args = value.get("command"), value.get("args")
    if not isinstance(command, str) or not isinstance(args, list) or "gateway" not in args:
        return False
    program = re.split(r"[\\/]", command)[-1].lower().removesuffix(".exe")
    return program == "stoa" or args[:2] == ["-m", "host"]


def _environment(home: PurePath, environ: Mapping[str, str]) -> dict[str, str]:
    return {"STOA_HOME": str(home)} | {name: environ[name] for name in _PASSED_ON if environ.get(name)}


def where_to_paste(client: Client, platform: str) -> str:
    """One sentence; `platform` as `sys.platform` says it."""
    match client:
        case "claude-desktop":
            path = {
                "darwin": "~/Library/Application Support/Claude/claude_desktop_config.json",
                "win32": r"%APPDATA%\Claude\claude_desktop_config.json",
            }.get(platform, "~/.config/Claude/claude_desktop_config.json")
            return f"Merge this into {path} (Settings > Developer > Edit Config) and restart Claude Desktop."
        case "claude-code":
            return "Merge this into ~/.claude.json (all projects) or .mcp.json (one project)."
        case "cursor":
            return "Merge this into ~/.cursor/mcp.json (all projects) or .cursor/mcp.json (one project)."
        case "vscode":
            return 'Merge this into .vscode/mcp.json, or run "MCP: Open User Configuration" from the command palette.'
