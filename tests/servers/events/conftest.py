"""A client of an events server with a private home."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client

from tests.servers.events.stage import serving


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with serving(home) as client:
        yield client
