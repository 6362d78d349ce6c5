"""The page of each server says what the code does: its tables are written by the code, and this keeps them equal.

Where this fails, put the table that the message shows between the two marks.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import Tool

from kit.author import Server
from servers.content import server as content
from servers.content.settings import ContentSettings
from servers.events import server as events
from servers.events.settings import EventsSettings
from stoa.settings import ServerSettings, Settings

PAGES = Path(__file__).parents[2] / "docs" / "servers"


def between(page: str, name: str) -> str:
    text = (PAGES / page).read_text("utf-8")
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


def settings_table(settings: type[ServerSettings]) -> str:
    lines = ["| variable | what it sets | default |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        what = (field.description or "").partition(" (`")[0]
        lines.append(f"| `{settings.prefix}{name.upper()}` | {what} | {field.default} |")
    return "\n".join(lines)


@pytest.mark.parametrize(("page", "create"), [("content.md", content.create), ("events.md", events.create)])
async def test_the_tool_table_is_the_one_that_clients_see(
    page: str, create: Callable[[Settings], Server], home: Path
) -> None:
    async with Client(create(Settings.model_validate({"home": home})).lowlevel) as client:
        assert between(page, "tools") == tool_table((await client.list_tools()).tools)


@pytest.mark.parametrize(("page", "settings"), [("content.md", ContentSettings), ("events.md", EventsSettings)])
def test_the_settings_table_is_the_one_that_is_read(page: str, settings: type[ServerSettings]) -> None:
    assert between(page, "settings") == settings_table(settings)
