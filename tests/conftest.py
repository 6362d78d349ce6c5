"""What every test gets: one async backend, a home of its own, and an environment that says nothing about Stoa."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no failure: how long an example takes, or is thought up, says nothing of whether it is right.
hypothesis.settings.register_profile(
    "stoa", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("stoa")

SPEAKS_TO_US = ("STOA_", "OPENAI_", "ANTHROPIC_", "FASTMCP_", "MCP_", "NOTION_MCP_", "HELPSCOUT_MCP_", "SLACK_MCP_")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private STOA_HOME; variables that the developer has set never reach a test or its children."""
    for name in list(os.environ):
        if name.startswith(SPEAKS_TO_US):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("STOA_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal() -> None:
    """Started in the background, tests ignore Ctrl-C and hang-ups, and so would the commands that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
