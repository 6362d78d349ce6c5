"""The event log as people meet it: real processes that run, are killed, look back, and carry the log elsewhere."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.fakes.llm import Asked, Call, FakeLlm, Turn, serve_llm

STOA = str(Path(sys.executable).parent / "stoa")
PATIENCE_SECONDS = 60


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "locks.md").write_text(
        "# Locks\n\nTo lock a file so that nobody else writes to it, call `acquire()` before you open it.\n", "utf-8"
    )
    return folder


def stoa(*words: str, cwd: Path, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [STOA, *words],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def answered(*words: str, cwd: Path, code: int = 0, **environ: str) -> Any:
    """Stdout of a command with --json: exactly one document, and nothing beside it on stderr."""
    done = stoa(*words, "--json", cwd=cwd, code=code, **environ)
    assert done.stderr == ""
    return json.loads(done.stdout)


def streams(told: Mapping[str, Any]) -> dict[str, list[tuple[int, str, str, Any]]]:
    """What each stream holds, by name; positions and times are of one log alone."""
    found: dict[str, list[tuple[int, str, str, Any]]] = {}
    for each in told["events"]:
        found.setdefault(each["stream"], []).append(
            (each["version"], each["event_id"], each["event_type"], each["data"])
        )
    return found


@pytest.mark.slow
def test_what_was_done_is_read_back_verified_and_carried_to_another_home(here: Path, tmp_path: Path) -> None:
    stoa("ingest", "locks.md", cwd=here)
    found = answered("run", "How do I lock a file?", "--planner", cwd=here)
    assert found["is_recorded"] is True
    shown = stoa("runs", "show", found["run_id"], cwd=here).stdout
    assert "acquire()" in shown
    assert "called content.search_documents on content-0" in shown
    assert f"run {found['run_id']}" in shown
    (listed,) = answered("runs", "list", cwd=here)["runs"]
    assert (listed["run_id"], listed["state"], listed["steps"]) == (found["run_id"], "finished", 1)
    told = answered("events", "tail", cwd=here)
    own = [each["event_type"] for each in told["events"] if each["stream"] == f"run-{found['run_id']}"]
    assert own == ["run.started", "run.tool_called", "run.finished"]
    assert answered("events", "verify", cwd=here)["is_sound"] is True
    state = answered("events", "state", f"run-{found['run_id']}", "--at", "2", cwd=here)
    assert (state["version"], state["state"]["state"]) == (2, "unfinished")

    file, other = here / "log.jsonl", str(tmp_path / "other")
    assert answered("events", "export", str(file), cwd=here)["events"] == len(told["events"])
    assert answered("events", "import", str(file), cwd=here, STOA_HOME=other)["events"] == len(told["events"])
    assert answered("events", "import", str(file), cwd=here, STOA_HOME=other)["events"] == 0
    there = answered("events", "tail", cwd=here, STOA_HOME=other)
    assert streams(there) == streams(told)
    assert answered("events", "verify", cwd=here, STOA_HOME=other)["is_sound"] is True
    assert answered("runs", "show", cwd=here, STOA_HOME=other)["text"] == found["text"]


class Ended:
    """A model that asks for a tool, and ends the run with a signal once the log knows of the call."""

    def __init__(self, cwd: Path, number: signal.Signals) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._cwd = cwd
        self._number = number

    def __call__(self, asked: Asked) -> Turn:
        if not asked.results:
            return Turn(calls=(Call("content_search_documents", {"query": "lock a file"}),))
        assert self.process is not None
        while "run.tool_called" not in {each["event_type"] for each in self._events()}:
            assert self.process.poll() is None
        self.process.send_signal(self._number)
        return Turn("Too late.")

    def _events(self) -> list[dict[str, Any]]:
        return answered("events", "tail", cwd=self._cwd)["events"]


def started(words: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def ended(here: Path, number: signal.Signals) -> tuple[int, dict[str, Any]]:
    """The exit code of a run that got this signal in the middle, and what the log says of it."""
    await anyio.to_thread.run_sync(lambda: stoa("ingest", "locks.md", cwd=here))
    brain = Ended(here, number)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with serve_llm(FakeLlm(brain)) as url:
            words = [STOA, "run", "How do I lock a file?", "--model", f"openai-compatible:{url}/v1#fake"]
            brain.process = started(words, here)
            try:
                code = await anyio.to_thread.run_sync(brain.process.wait)
            finally:
                brain.process.kill()
    return code, answered("runs", "show", cwd=here)


@pytest.mark.slow
async def test_a_run_that_is_killed_leaves_what_it_had_done(here: Path) -> None:
    code, state = await ended(here, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert (state["state"], state["task"], state["text"]) == ("unfinished", "How do I lock a file?", "")
    assert [each["ref"] for each in state["steps"]] == ["content.search_documents"]
    assert [each["tool_calls"][0]["tool"] for each in state["answers"]] == ["content.search_documents"]
    assert "unfinished" in stoa("runs", "show", cwd=here).stdout
    assert answered("events", "verify", cwd=here)["is_sound"] is True


@pytest.mark.slow
async def test_a_run_that_is_interrupted_says_so_in_the_log(here: Path) -> None:
    code, state = await ended(here, signal.SIGINT)
    assert code == 130
    assert (state["state"], state["error"]["code"], len(state["steps"])) == ("failed", "interrupted", 1)


@pytest.mark.slow
def test_new_events_are_followed_line_by_line_until_ctrl_c(here: Path, tmp_path: Path) -> None:
    other, file = str(tmp_path / "other"), str(here / "log.jsonl")
    stoa("run", "Why zebras?", "--planner", cwd=here, STOA_HOME=other)
    exported = answered("events", "export", file, cwd=here, STOA_HOME=other)["events"]
    stoa("run", "Why not?", "--planner", cwd=here)
    before = len(answered("events", "tail", cwd=here)["events"])
    process = subprocess.Popen(
        [STOA, "events", "tail", "--follow", "--json", "-n", "1"],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        stoa("events", "import", file, cwd=here)
        come = [json.loads(process.stdout.readline()) for _ in range(exported)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert first["position"] == before
    assert [each["position"] for each in come] == list(range(before + 1, before + 1 + exported))
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_a_log_that_cannot_be_written_does_not_take_the_answer_away(here: Path, home: Path) -> None:
    stoa("ingest", "locks.md", cwd=here)
    for path in home.glob("events.db*"):
        path.unlink()
    (home / "events.db").write_text("This is no database. " * 1000, "utf-8")
    done = stoa("run", "How do I lock a file?", "--planner", cwd=here)
    assert "acquire()" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "not in the event log" in line or "not, or not wholly, in the event log" in line
    assert "events.db" in line
    assert "events.db" in stoa("events", "tail", cwd=here, code=2).stderr
    (check,) = [each for each in answered("doctor", cwd=here, code=2)["checks"] if each["what"] == "Event log"]
    assert check["verdict"] == "bad"
