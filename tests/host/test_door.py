"""From words to exit codes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from host.door import hoist, run_command
from host.session import BAD_INPUT, UNAVAILABLE, exit_code
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


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("words", [("--json", "doctor"), ("doctor",), ("--version",), ("--help",), ("--json", "bad")])
def test_a_stdout_that_takes_nothing_is_said_in_one_line(words: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        done = stoa(*words, stdout=full)
    assert done.returncode in {BAD_INPUT, UNAVAILABLE}
    assert done.stderr.startswith("error: ")
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 1 or "--help" in words


@pytest.mark.parametrize("words", [("--json", "doctor"), ("--version",), ("call", "content.x")])
def test_a_closed_stdout_is_said_before_anything_is_done(words: tuple[str, ...], home: Path) -> None:
    done = stoa(*words, closed=1)
    assert done.returncode == BAD_INPUT
    assert done.stderr == "error: Standard output is closed. Redirect it to a file or to /dev/null.\n"
    assert not home.exists()


def test_a_closed_stderr_is_no_matter() -> None:
    done = stoa("servers", "nobody", stdout=subprocess.PIPE, closed=2)
    assert (done.returncode, done.stdout) == (BAD_INPUT, "")


def stoa(
    *words: str, stdout: IO[str] | int | None = None, closed: int | None = None
) -> subprocess.CompletedProcess[str]:
    shell = ["sh", "-c", f'exec "$@" {closed}>&-', "sh"] if closed is not None else []
    return subprocess.run(
        [*shell, sys.executable, "-m", "host", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("words", [["--help"], ["install", "--help"], ["gateway", "-h"]])
def test_flags_are_shown_without_a_type(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(words) == 0
    out = capsys.readouterr().out
    assert "--help" in out
    assert "bool" not in out


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals there")
@pytest.mark.parametrize("command", [["gateway"], ["serve", "content"]])
def test_a_person_who_starts_a_stdio_server_is_told_what_it_waits_for(command: list[str], home: Path) -> None:
    ours, theirs = os.openpty()
    config = home / "mcp.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('{"mcpServers": {"a": {"command": "no-such-command-anywhere"}}}', "utf-8")
    words = [sys.executable, "-m", "host", "--config", str(config), *command]
    with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        process.kill()
    os.close(ours)
    os.close(theirs)
    assert "stoa install" in said
    assert "--transport http" in said
