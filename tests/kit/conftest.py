"""The example server, and a way to connect to it that each test of the contract runs with every wire and era."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from stoa.settings import Settings
from tests.kit.example import Example
from tests.kit.wires import ERAS, WIRES, Connect, opened


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings.model_validate({"home": home})


@pytest.fixture
def example(settings: Settings) -> Example:
    return Example(settings)


@pytest.fixture(params=[f"{wire} {era}" for wire in WIRES for era in ERAS])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def connected(example: Example, settings: Settings, way: str) -> Connect:
    wire, era = way.split()

    @asynccontextmanager
    async def connect(**options: Any) -> AsyncGenerator[Client]:
        async with opened(example.server, wire, era, settings=settings, **options) as client:
            yield client

    return connect
