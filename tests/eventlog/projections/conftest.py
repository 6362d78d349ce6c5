"""A log for each test: in memory, in a file, in PostgreSQL."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from eventlog.log import EventLog
from eventlog.open import open_memory, open_sqlite, serve_log
from eventlog.postgres.store import open_postgres
from stoa.clock import SystemClock
from tests.fakes.postgres import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[EventLog]:
    match request.param:
        case "memory":
            async with open_memory() as log:
                yield log
        case "sqlite":
            async with open_sqlite(tmp_path / "events.db") as store, serve_log(store) as log:
                yield log
        case _:
            url = request.getfixturevalue("postgres_url")
            async with open_postgres(url, clock=SystemClock()) as store, serve_log(store) as log:
                yield log
