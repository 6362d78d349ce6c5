"""Bad input on the command line: an exit code, what is wrong, and what to do; never a traceback."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.door import run_command

FILES = {
    "broken.json": '{"mcpServers": {"content": ',
    "list.json": "[]",
    "unknown.json": '{"mcpServers": {}, "stoa": {"pools": {"content": {"replica": 2}}}}',
    "far.json": '{"mcpServers": {"far": {"url": "http://127.0.0.1:9/mcp"}}}',
    "none.json": '{"mcpServers": {}}',
    "dead.json": '{"mcpServers": {"gone": {"command": "no-such-command-anywhere"}}}',
    "dying.json": '{"mcpServers": {"dying": {"command": "sh", "args": ["-c", "echo last words >&2; exit 3"]}}}',
}
MODEL_KEYS = "OPENAI_API_KEY"

CASES: list[tuple[list[str], int, list[str]]] = [
    (["servrs"], 2, ["servrs", "'servers'"]),
    (["servers", "--jsn"], 2, ["--jsn", "stoa servers --help"]),
    (["--config"], 2, ["--config"]),
    (["run"], 2, ["task"]),
    (["run", "How", "do", "I", "lock"], 2, ["Put the task in quotes", 'stoa run "How do I lock"']),
    (["run", "  "], 2, ["empty", "quotes"]),
    (["run", "x", "--planner", "--model", "openai"], 2, ["--planner", "'openai'"]),
    (["run", "x", "--model", "nonsense"], 2, ["'nonsense'", "openai-compatible:URL#NAME"]),
    (["run", "x", "--model", "openai"], 2, [MODEL_KEYS]),
    (["run", "x", "--server", "contnt"], 2, ["'contnt'", "'content'"]),
    (["servers", "contnt"], 2, ["'contnt'", "'content'"]),
    (["tools", "x", "--server", "contnt"], 2, ["'contnt'", "'content'"]),
    (["call"], 2, ["server.tool"]),
    (["call", "search"], 2, ["'search'", "server.tool"]),
    (["call", "contnt.search_documents"], 2, ["'contnt'", "'content'"]),
    (["call", "content.x", "a=b", "--args", "{}"], 2, ["twice"]),
    (["call", "content.x", "--args", "{"], 2, ["--args", "character 2"]),
    (["call", "content.x", "--args", "[1]"], 2, ["--args", "object"]),
    (["ingest"], 2, ["--installed"]),
    (["ingest", "/nowhere/at/all"], 2, ["/nowhere/at/all"]),
    (["serve"], 2, ["server"]),
    (["serve", "contnt"], 2, ["'contnt'", "'content'"]),
    (["serve", "content", "--transport", "tcp"], 2, ["'tcp'", "'stdio'"]),
    (["serve", "content", "--port", "8082"], 2, ["--port", "--transport http"]),
    (["serve", "content", "--transport", "http", "--port", "99999"], 2, ["--port", "65535"]),
    (["serve", "content", "--root", "/nowhere/at/all"], 2, ["root", "/nowhere/at/all"]),
    (["serve", "content", "--root", "/"], 2, ["'/'", "--force-root"]),
    (["config", "emacs"], 2, ["'emacs'", "'cursor'"]),
    (["--config", "nowhere.json", "servers"], 2, ["nowhere.json", "--config"]),
    (["--config", "broken.json", "servers"], 2, ["broken.json"]),
    (["--config", "list.json", "servers"], 2, ["list.json"]),
    (["--config", "unknown.json", "servers"], 2, ["replica", "'replicas'"]),
    (["--config", "far.json", "gateway", "--server", "fra"], 2, ["'fra'"]),
    (["--config", "far.json", "gateway", "--port", "1"], 2, ["--port", "--transport http"]),
    (["--config", "dead.json", "gateway", "--host", "0.0.0.0", "--transport", "http"], 2, ["STOA_AUTH"]),
    (["--config", "far.json", "config", "cursor"], 2, ["far.json", "stoa serve"]),
    (["--config", "none.json", "run", "why?"], 2, ["No server offers any tool"]),
    (["--config", "none.json", "ingest", "none.json"], 2, ["'content'"]),
    (["--config", "dead.json", "call", "gone.x"], 2, ["no-such-command-anywhere", "mcpServers.gone.command"]),
    (["--config", "dead.json", "run", "why?"], 2, ["no-such-command-anywhere", "mcpServers.gone.command"]),
    (["--config", "dying.json", "call", "dying.x"], 3, ["'dying'", "last words"]),
    (["--config", "dying.json", "run", "why?"], 3, ["'dying'", "last words"]),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with wrong configurations and none that would be found by itself."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, "utf-8")
    monkeypatch.chdir(folder)
    yield
    gc.enable()  # a server that is about to be loaded has switched it off


def named(case: tuple[list[str], int, list[str]]) -> str:
    return " ".join(case[0]) or "nothing"


@pytest.mark.parametrize(("words", "code", "said"), CASES, ids=map(named, CASES))
def test_what_is_wrong_and_what_to_do_stand_on_stderr(
    words: list[str], code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    for part in said:
        assert part.lower() in captured.err.lower()


@pytest.mark.parametrize(("words", "code", "said"), CASES, ids=map(named, CASES))
def test_in_json_it_is_one_document_on_stdout(
    words: list[str], code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["--json", *words]) == code
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert set(error) == {"code", "message", "hint"}
    text = f"{error['message']} {error['hint']}".lower()
    assert all(part.lower() in text for part in said)
    assert captured.err == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("STOA_LOG_LEVEL", "LOUD", ["servers"]),
        ("STOA_SECRET_KEY", "short", ["serve", "content"]),
        ("STOA_CONTENT_BUSY_SECONDS", "never", ["serve", "content"]),
    ],
)
def test_a_wrong_variable_is_named(
    name: str, value: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert run_command(words) == 2
    assert name in capsys.readouterr().err


def test_a_home_that_is_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv("STOA_HOME", str(tmp_path / "file"))
    assert run_command(["serve", "content"]) == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "file") in err
    assert "STOA_HOME" in err


def test_verbose_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--verbose", "servers", "contnt"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "error: There is no server 'contnt'" in err
