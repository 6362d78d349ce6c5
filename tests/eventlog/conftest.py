"""A log of each kind: in memory, in a file, and in PostgreSQL. What is true of one is true of all."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from eventlog.event import StreamId
from eventlog.log import EventLog
from eventlog.open import open_log, open_memory
from eventlog.schemas import TypeRegistry
from stoa.clock import Clock
from stoa.settings import Settings
from tests.fakes.postgres import postgres, postgres_url

__all__ = ["OpenLog", "postgres", "postgres_url"]

OpenLog = Callable[[TypeRegistry | None, Clock | None], AbstractAsyncContextManager[EventLog]]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_a_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    """Opens one log of this kind, with the types and the clock that are given; opened again, it is the same log
    (in memory it is a new one)."""
    if request.param == "memory":
        return open_memory
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    settings = Settings.model_validate({"home": tmp_path / "log", "database_url": url})
    return lambda types, clock: open_log(settings, types=types, clock=clock)


@pytest.fixture
async def log(open_a_log: OpenLog) -> AsyncGenerator[EventLog]:
    async with open_a_log(None, None) as opened:
        yield opened


@pytest.fixture
def orders() -> StreamId:
    return StreamId("acme", "order-1001")
