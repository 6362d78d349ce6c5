"""Entries for other MCP clients that work when pasted: absolute paths, and the few variables that a bare start lacks.

A client starts its servers in a folder of its own with almost no environment, so nothing may depend on either. Pure.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Literal

from pydantic import JsonValue

from host.launch import Launch

__all__ = ["CLIENTS", "Client", "entry", "where_to_paste"]

Client = Literal["claude-desktop", "cursor", "vscode"]
CLIENTS: tuple[Client, ...] = ("claude-desktop", "cursor", "vscode")

_PASSED_ON = ("STOA_ROOTS", "STOA_LOG_LEVEL")
"""Variables that change what a server does and hold no secret. Secrets belong into the client's own store."""


def entry(
    client: Client, launches: Sequence[Launch], *, command: Sequence[str], home: PurePath, environ: Mapping[str, str]
) -> dict[str, JsonValue]:
    """The document to paste. `command` is how `stoa` is started, with absolute paths."""
    shared = {"STOA_HOME": str(home)} | {name: environ[name] for name in _PASSED_ON if environ.get(name)}
    servers: dict[str, JsonValue] = {}
    for launch in launches:
        kind: dict[str, JsonValue] = {"type": "stdio"} if client == "vscode" else {}
        args: list[JsonValue] = [*command[1:], "serve", launch.server, *launch.anywhere().args]
        env: dict[str, JsonValue] = {**shared, **launch.env}
        servers[launch.name] = {**kind, "command": command[0], "args": args, "env": env}
    return {"servers" if client == "vscode" else "mcpServers": servers}


def where_to_paste(client: Client, platform: str) -> str:
    """One sentence; `platform` as `sys.platform` says it."""
    match client:
        case "claude-desktop":
            path = {
                "darwin": "~/Library/Application Support/Claude/claude_desktop_config.json",
                "win32": r"%APPDATA%\Claude\claude_desktop_config.json",
            }.get(platform, "~/.config/Claude/claude_desktop_config.json")
            return f"Merge this into {path} (Settings > Developer > Edit Config) and restart Claude Desktop."
        case "cursor":
            return "Merge this into ~/.cursor/mcp.json (all projects) or .cursor/mcp.json (one project)."
        case "vscode":
            return 'Merge this into .vscode/mcp.json, or run "MCP: Open User Configuration" from the command palette.'
