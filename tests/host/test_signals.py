"""Told to stop: whatever the signal and the moment, a command ends quietly with its exit code and leaves nobody."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

PATIENCE_SECONDS = 30

EARLY = """
import os, sys

class Stop:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            os.kill(os.getpid(), int(sys.argv[1]))

sys.meta_path.insert(0, Stop())
from host.__main__ import main
main()
"""

SILENT = """
import os, pathlib, subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
os.write(int(sys.argv[1]), b"started")
sys.stdin.read()
grandchild.wait()
"""
"""A server that never answers, and has a process of its own that outlives it if nobody ends its group."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_anything_is_loaded_ends_it_quietly(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY, str(int(number))], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


@contextmanager
def waiting(tmp_path: Path, *words: str) -> Generator[subprocess.Popen[str]]:
    """A command that waits for a server which never answers."""
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    (tmp_path / "silent.py").write_text(SILENT.replace("int(sys.argv[1])", f"os.open({str(fifo)!r}, os.O_WRONLY)"))
    config = tmp_path / "mcp.json"
    config.write_text(
        f'{{"mcpServers": {{"content": {{"command": "{sys.executable}", "args": ["{tmp_path / "silent.py"}"]}}}}}}'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "host", "--config", str(config), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with fifo.open("rb", buffering=0) as said:
            assert said.read(7) == b"started"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words", [("call", "content.x"), ("ingest", __file__)], ids=["call", "ingest"])
@pytest.mark.slow
def test_every_signal_ends_a_command_and_all_that_it_started(
    tmp_path: Path, words: tuple[str, ...], number: signal.Signals
) -> None:
    with waiting(tmp_path, *words) as process:
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert len(started) >= 2
    assert psutil.wait_procs(started, timeout=10)[1] == []


@pytest.mark.slow
def test_a_hangup_that_the_parent_ignores_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with waiting(tmp_path, "tools") as process:
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.returncode == 128 + signal.SIGTERM, err
