"""From words to exit codes."""

import subprocess
import sys

import pytest

from host.door import hoist, run_command
from host.session import exit_code
from stoa.errors import BadInput, Conflict, Denied, Fault, NotFound, OutcomeUnknown, StoaError, Unavailable


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("servers --json", "--json servers"),
        ("run task --config x.json --verbose", "--config x.json --verbose run task"),
        ("run --config=x.json task", "--config=x.json run task"),
        ("run -- --json", "run -- --json"),
        ("servers --config", "--config servers"),
        ("", ""),
    ],
)
def test_global_options_may_stand_anywhere_before_a_double_dash(words: str, expected: str) -> None:
    assert hoist(words.split()) == expected.split()


@pytest.mark.parametrize(
    ("kind", "code"),
    [(BadInput, 2), (NotFound, 2), (Denied, 1), (Conflict, 1), (OutcomeUnknown, 1), (Fault, 1), (Unavailable, 3)],
)
def test_each_error_has_its_exit_code(kind: type[StoaError], code: int) -> None:
    assert exit_code(kind("x")) == code


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from host.door import run_command\n"
        "assert run_command(['--help']) == 0\n"
        "heavy = {'pydantic', 'anyio', 'mcp', 'fastmcp', 'pydantic_ai', 'openai', 'anthropic', 'asyncio', 'httpx',"
        " 'starlette', 'sqlalchemy', 'snowballstemmer', 'psutil'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ingest" in done.stdout


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([]) == 0
    assert "Usage: stoa" in capsys.readouterr().out
