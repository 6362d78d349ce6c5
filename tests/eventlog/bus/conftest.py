"""A bus of each kind, on real brokers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from eventlog.bus.bus import Bus
from eventlog.bus.open import open_bus
from stoa.settings import Settings
from tests.eventlog.bus.brokers import Broker, Nats, Redis

BROKERS: dict[str, type[Broker]] = {"nats": Nats, "redis": Redis}


@pytest.fixture(params=["nats", "redis"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


@pytest.fixture(params=["in process", "nats", "redis"])
async def bus(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[Bus]:
    async with AsyncExitStack() as stack:
        values: dict[str, object] = {"home": home}
        if request.param in BROKERS:
            values["bus_url"] = (await stack.enter_async_context(BROKERS[request.param]())).url
        yield await stack.enter_async_context(open_bus(Settings.model_validate(values)))
