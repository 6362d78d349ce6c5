"""The command as people run it: real processes, the real content server, a home of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from pool.pool import Pool
from pool.spec import GroupSpec, StdioSpec

STOA = str(Path(sys.executable).parent / "stoa")
PATIENCE_SECONDS = 60


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder without an mcp.json: the built-in configuration holds."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def stoa(*words: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [STOA, *words], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def answered(*words: str, cwd: Path) -> Any:
    """Stdout of a command with --json: exactly one document, and nothing beside it on stderr."""
    done = stoa(*words, "--json", cwd=cwd)
    assert done.stderr == ""
    return json.loads(done.stdout)


@contextmanager
def running(*words: str, cwd: Path) -> Generator[subprocess.Popen[str]]:
    """The command while it runs; it is ended, with its children, whatever happens."""
    process = subprocess.Popen([STOA, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.slow
def test_documents_go_in_and_a_cited_answer_comes_out(here: Path, home: Path) -> None:
    (here / "locks.md").write_text(
        "# Locks\n\nTo lock a file so that nobody else writes to it, call `acquire()` before you open it.\n", "utf-8"
    )
    (here / "bread.md").write_text("# Bread\n\nKnead the dough and let it rest over night in a cool place.\n", "utf-8")
    (here / "empty.md").write_text("", "utf-8")
    first = stoa("ingest", ".", cwd=here, code=2)
    assert "2 documents ingested" in first.stdout
    assert "empty.md" in first.stdout
    assert {each["created"] for each in answered("ingest", "locks.md", "bread.md", cwd=here)["ingested"]} == {False}
    found = answered("run", "How do I lock a file?", "--planner", cwd=here)
    assert [each["title"] for each in found["citations"]] == ["Locks"]
    assert "acquire()" in found["text"]
    assert answered("runs", "show", found["run_id"], cwd=here)["text"] == found["text"]
    assert (home / "events.db").stat().st_mode & 0o777 == 0o600
    assert answered("run", "Who won the football world cup?", "--planner", cwd=here)["found"] is False


@pytest.mark.slow
def test_every_looking_command_prints_one_document(here: Path) -> None:
    assert answered("servers", cwd=here)["servers"][0]["state"] == "healthy"
    assert answered("tools", "search", cwd=here)["tools"][0]["name"] == "content.search_documents"
    assert answered("call", "content.list_documents", "limit=1", cwd=here)["result"]["documents"] == []
    assert answered("doctor", cwd=here)["ok"] is True
    assert answered("--version", cwd=here)["version"]
    assert "content" in json.loads(stoa("config", "vscode", cwd=here).stdout)["servers"]


async def test_an_entry_for_claude_desktop_starts_in_a_bare_environment(here: Path, home: Path) -> None:
    entry = json.loads(stoa("config", "claude-desktop", cwd=here).stdout)["mcpServers"]["content"]
    bare = ("-i", *(f"{name}={value}" for name, value in entry["env"].items()), entry["command"], *entry["args"])
    spec = GroupSpec("content", (StdioSpec("/usr/bin/env", bare, cwd="/"),))
    with anyio.fail_after(PATIENCE_SECONDS):
        async with Pool([spec], internal_key=None) as pool:
            tools = (await pool.tools()).tools
    assert "search_documents" in {tool.ref.tool for tool in tools}
    assert os.listdir(home)  # it wrote where the entry says, not into a home it would guess


@pytest.mark.slow
def test_an_interrupted_ingest_keeps_what_is_done_and_says_what_is_left(here: Path) -> None:
    total = 400
    for number in range(total):
        (here / f"{number}.md").write_text(f"# Number {number}\n\nThis is the document {number}.\n" * 20, "utf-8")
    with running("--verbose", "--json", "ingest", ".", cwd=here) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("10 of "):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    report = json.loads(out)
    assert report["interrupted"] is True
    assert 10 <= len(report["ingested"]) < total
    assert report["left"] == total - len(report["ingested"])
    assert children
    assert psutil.wait_procs(children, timeout=10)[1] == []
    again = answered("ingest", ".", cwd=here)
    known = {each["name"] for each in again["ingested"] if not each["created"]}
    assert {each["name"] for each in report["ingested"]} <= known
    assert len(again["ingested"]) == total


@pytest.mark.slow
def test_all_servers_together_say_where_they_are_and_end_cleanly(here: Path) -> None:
    with running("up", "--port", "0", "--json", cwd=here) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.rstrip() == "}":
                break
        told = json.loads(text)
        assert {each["server"] for each in told["servers"]} >= {"content", "events"}
        for served in told["servers"]:
            assert told["gateway"]["http"] == served["http"].removesuffix(f"/{served['server']}")
            assert served["http"].endswith(f"/mcp/{served['server']}")
            assert served["ws"].startswith("ws://127.0.0.1:")
        port = int(told["gateway"]["http"].split(":")[2].split("/")[0])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("words", [("up",), ("serve", "content", "--transport", "http")])
def test_a_port_in_use_and_an_open_address_without_auth_are_refused(here: Path, words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in stoa(*words, "--port", port, cwd=here, code=2).stderr
    assert "STOA_AUTH" in stoa(*words, "--host", "0.0.0.0", "--port", "0", cwd=here, code=2).stderr


def test_a_reader_that_goes_away_is_no_error(here: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [STOA, "doctor", "--json"], cwd=here, stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
