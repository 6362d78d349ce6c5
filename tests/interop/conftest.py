"""The environment of the old SDK, and servers in it."""

import sys
from pathlib import Path

import pytest

OLD = Path(sys.prefix) / "interop-mcp1"


@pytest.fixture(scope="session")
def old_python() -> str:
    """The interpreter that has the SDK of before 2.0; `make interop` installs it."""
    python = OLD / "bin" / "python"
    if not python.exists():
        pytest.skip("The SDK of before 2.0 is not installed: make interop")
    return str(python)
