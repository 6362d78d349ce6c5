"""A store in a database of its own."""

from collections.abc import AsyncGenerator

import pytest

from eventlog.postgres.store import PostgresStore, open_postgres
from stoa.clock import SystemClock


@pytest.fixture
async def store(postgres_url: str) -> AsyncGenerator[PostgresStore]:
    async with open_postgres(postgres_url, clock=SystemClock()) as store:
        yield store
