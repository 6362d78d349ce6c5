"""A client of an events server with a private home; a PostgreSQL for who asks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client

from tests.fakes.postgres import postgres, postgres_url
from tests.servers.events.stage import serving

__all__ = ["client", "postgres", "postgres_url"]


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with serving(home) as client:
        yield client
