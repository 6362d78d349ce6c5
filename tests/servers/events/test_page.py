"""docs/servers/events.md says what the code does: its tables are written by the code, and this keeps them equal.

Where this fails, put the table that the message shows between the two marks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcp import Client
from mcp_types import Tool

from servers.events.server import create
from servers.events.settings import EventsSettings
from stoa.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "servers" / "events.md"


def between(name: str) -> str:
    text = PAGE.read_text("utf-8")
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0].strip()


def tool_table(tools: list[Tool]) -> str:
    lines = ["| tool | what it does | arguments | answers |", "|---|---|---|---|"]
    for tool in tools:
        arguments: Mapping[str, Any] = tool.input_schema["properties"]
        required: list[str] = tool.input_schema.get("required", [])
        answers: Mapping[str, Any] = (tool.output_schema or {})["properties"]
        what = " ".join((tool.description or "").split())
        names = ", ".join(f"**`{name}`**" if name in required else f"`{name}`" for name in arguments)
        lines.append(f"| `{tool.name}` | {what} | {names} | {', '.join(f'`{name}`' for name in answers)} |")
    return "\n".join(lines)


def settings_table() -> str:
    lines = ["| variable | what it sets | default |", "|---|---|---|"]
    for name, field in EventsSettings.model_fields.items():
        what = (field.description or "").partition(" (`")[0]
        lines.append(f"| `STOA_EVENTS_{name.upper()}` | {what} | {field.default} |")
    return "\n".join(lines)


async def test_the_tool_table_is_the_one_that_clients_see(home: Path) -> None:
    async with Client(create(Settings.model_validate({"home": home})).lowlevel) as client:
        assert between("tools") == tool_table((await client.list_tools()).tools)


def test_the_settings_table_is_the_one_that_is_read() -> None:
    assert between("settings") == settings_table()
