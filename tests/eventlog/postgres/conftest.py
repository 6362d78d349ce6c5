"""A store in a database of its own, and what is appended to it."""

from collections.abc import AsyncGenerator

import pytest

from eventlog.postgres.store import PostgresStore, open_postgres
from stoa.clock import SystemClock
from tests.fakes.postgres import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]


@pytest.fixture
async def store(postgres_url: str) -> AsyncGenerator[PostgresStore]:
    async with open_postgres(postgres_url, clock=SystemClock()) as store:
        yield store
