"""A store on a private file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servers.content.database import Database
from servers.content.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "content.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    database = Database(path)
    yield Store(database)
    await database.close()
