"""A server with everything in it, and the four pairs of eras."""

from pathlib import Path

import pytest

from stoa.settings import Settings
from tests.gateway.stage import PAIRS, settings_for
from tests.gateway.upstream import Upstream


@pytest.fixture
def settings(home: Path) -> Settings:
    return settings_for(home)


@pytest.fixture
def upstream(settings: Settings) -> Upstream:
    return Upstream(settings)


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> str:
    return request.param
