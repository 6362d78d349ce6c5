"""An events server in this process, and callers of two tenants."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client

from eventlog.model import EventModel
from servers.events.server import create
from servers.events.settings import EventsSettings
from stoa.principal import Principal, sign_assertion
from stoa.settings import Settings
from stoa.wire import PRINCIPAL_KEY

__all__ = ["ADA", "ADMIN", "BOB", "READER", "as_meta", "call", "event", "fail", "serving", "settings"]

KEY = b"k" * 32
ADA = Principal("ada", "tenant-a", scopes=frozenset({"events:read", "events:append"}))
BOB = Principal("bob", "tenant-b", scopes=frozenset({"events:read", "events:append"}))
READER = Principal("rita", "tenant-a", scopes=frozenset({"events:read"}))
ADMIN = Principal("otto", "tenant-a", scopes=frozenset({"events:*"}))


def settings(home: Path, **values: object) -> Settings:
    return Settings.model_validate({"home": home, "internal_key": KEY.decode(), **values})


@asynccontextmanager
async def serving(
    home: Path, *, models: Sequence[EventModel] | None = None, **options: object
) -> AsyncGenerator[Client]:
    events = EventsSettings.model_validate({"start_seconds": 3600, **options})
    async with Client(create(settings(home), events=events, models=models).lowlevel) as client:
        yield client


def as_meta(principal: Principal | None) -> types.RequestParamsMeta | None:
    if principal is None:
        return None
    assertion = sign_assertion(principal, audience="events", key=KEY, now=time.time())
    return {PRINCIPAL_KEY: assertion}  # type: ignore[typeddict-unknown-key]  # _meta is open to extensions


async def call(client: Client, tool: str, principal: Principal | None = None, /, **arguments: object) -> Any:
    """The structured result; an error is raised as the test's own failure."""
    result = await client.call_tool(tool, arguments, meta=as_meta(principal))
    assert not result.is_error, result.content
    return result.structured_content


async def fail(client: Client, tool: str, principal: Principal | None = None, /, **arguments: object) -> Any:
    result = await client.call_tool(tool, arguments, meta=as_meta(principal))
    assert result.is_error, result.structured_content
    said: Any = result.structured_content
    assert said.keys() >= {"code", "message", "hint", "retryable"}
    assert "Traceback" not in str(result.content)
    return said


def event(type: str = "order.placed", /, **more: object) -> dict[str, object]:
    return {"type": type, "data": {}, **more}
