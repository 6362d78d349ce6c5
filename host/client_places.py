"""Where each MCP client keeps its list of servers, by platform. Pure.

As their makers document it: Claude Desktop (modelcontextprotocol.io, "Connect to local servers"), Claude Code
(code.claude.com, "MCP"), Cursor (cursor.com, "Model Context Protocol"), VS Code (code.visualstudio.com, "MCP servers").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from host.client_config import Client, holder
from stoa.errors import BadInput

__all__ = ["NAMES", "Place", "find_place"]

NAMES: Mapping[Client, str] = {
    "claude-desktop": "Claude Desktop",
    "claude-code": "Claude Code",
    "cursor": "Cursor",
    "vscode": "VS Code",
}


@dataclass(frozen=True, slots=True)
class Place:
    """`signs`: one of these is there where the client is installed; none are needed for a project's own file.

    `then` says what makes the client notice.
    """

    file: Path
    holder: str
    signs: tuple[Path, ...]
    then: str


def find_place(client: Client, *, project: Path | None, platform: str, home: Path, environ: Mapping[str, str]) -> Place:
    """The file for all projects of a user, or that of one `project`. `platform` as `sys.platform` says it."""
    if project is not None:
        return _of_project(client, project)
    match client:
        case "claude-desktop":
            file = _applications(platform, home, environ) / "Claude" / "claude_desktop_config.json"
            signs, then = (file.parent,), "Quit Claude Desktop and start it again."
        case "claude-code":
            own = environ.get("CLAUDE_CONFIG_DIR")
            file = (Path(own) if own else home) / ".claude.json"
            signs, then = (file, Path(own) if own else home / ".claude"), "Start a new session; /mcp shows its state."
        case "cursor":
            file = home / ".cursor" / "mcp.json"
            signs, then = (file.parent,), "Switch it on in Cursor Settings > MCP if it is not."
        case "vscode":
            file = _applications(platform, home, environ) / "Code" / "User" / "mcp.json"
            signs, then = (file.parent,), 'Run "MCP: List Servers" from the command palette and start it.'
    return Place(file, holder(client), signs, then)


def _of_project(client: Client, project: Path) -> Place:
    match client:
        case "claude-desktop":
            raise BadInput("Claude Desktop has no projects.", hint="Leave --project out.")
        case "claude-code":
            file, then = project / ".mcp.json", "Claude Code asks once, in this folder, whether you trust it."
        case "cursor":
            file, then = project / ".cursor" / "mcp.json", "Switch it on in Cursor Settings > MCP if it is not."
        case "vscode":
            file, then = project / ".vscode" / "mcp.json", "Open the file in VS Code and press Start above the entry."
    return Place(file, holder(client), (), then)


def _applications(platform: str, home: Path, environ: Mapping[str, str]) -> Path:
    """The folder where programs of a desktop keep their settings."""
    if platform == "darwin":
        return home / "Library" / "Application Support"
    if platform == "win32":
        return Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
