"""What commands print and how they end, over servers in this process."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from host.app import Workspace
from host.commands.bring import ingest_all
from host.commands.look import call_tool, list_servers, list_tools
from host.commands.work import run_task
from host.ingest import LARGEST_FILE_BYTES
from host.output import Output
from host.session import BAD_INPUT, OK, TOOL_FAILED, UNAVAILABLE
from stoa.errors import BadInput, NotFound, StoaError
from stoa.wire import MAX_MESSAGE_BYTES
from tests.host.shelf import Inbox, Shelf, dead, workspace

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def text(capsys: Capture) -> Output:
    return Output()


@pytest.fixture
def as_json(capsys: Capture) -> Output:
    return Output(as_json=True)


def document(capsys: Capture) -> Any:
    """Stdout as the one JSON document that it has to be."""
    return json.loads(capsys.readouterr().out)


def test_servers_are_listed_with_state_era_version_and_latency(home: Path, text: Output, capsys: Capture) -> None:
    assert list_servers(workspace(home, Shelf(home).group()), text, None) == OK
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["SERVER", "REPLICA", "STATE", "ERA", "VERSION", "LATENCY"]
    assert re.fullmatch(r"shelf +shelf-0 +healthy +modern +1\.2\.3 +\d+\.\d ms", line)


def test_a_server_that_cannot_start_is_listed_with_the_reason(home: Path, as_json: Output, capsys: Capture) -> None:
    assert list_servers(workspace(home, dead("away"), Shelf(home).group()), as_json, None) == OK
    away, shelf = document(capsys)["servers"]
    assert (away["state"], shelf["state"]) == ("stopped", "healthy")
    assert "no-such-command-anywhere" in away["reason"]


def test_no_server_that_is_ready_is_unavailable(home: Path, as_json: Output, capsys: Capture) -> None:
    assert list_servers(workspace(home, dead("away"), Shelf(home).group()), as_json, "away") == UNAVAILABLE
    assert [each["server"] for each in document(capsys)["servers"]] == ["away"]


def test_tools_are_listed_with_their_arguments(home: Path, text: Output, capsys: Capture) -> None:
    assert list_tools(workspace(home, Shelf(home).group()), text, None, ()) == OK
    out = capsys.readouterr().out
    assert "shelf.find_texts  query=string [limit=integer]\n    Find texts by their words.\n" in out
    assert "shelf.remove_text  id=string\n    (may change things) Remove a text for good.\n" in out


def test_a_query_puts_the_best_tool_first_and_drops_the_others(home: Path, as_json: Output, capsys: Capture) -> None:
    assert list_tools(workspace(home, Shelf(home).group()), as_json, "remove something for good", ()) == OK
    assert [each["name"] for each in document(capsys)["tools"]] == ["shelf.remove_text"]


def test_who_is_away_is_named_beside_the_tools_of_the_others(home: Path, text: Output, capsys: Capture) -> None:
    assert list_tools(workspace(home, dead("away"), Shelf(home).group()), text, None, ()) == OK
    captured = capsys.readouterr()
    assert "shelf.find_texts" in captured.out
    assert captured.err.startswith("The command 'no-such-command-anywhere' of the server 'away' was not found.")


def test_a_call_prints_the_structured_result(home: Path, text: Output, capsys: Capture) -> None:
    assert call_tool(workspace(home, Shelf(home).group()), text, "shelf.show_text", ["id=t1"], None) == OK
    assert document(capsys) == {"id": "t1", "title": "Locks"}


def test_a_call_in_json_names_the_replica(home: Path, as_json: Output, capsys: Capture) -> None:
    assert call_tool(workspace(home, Shelf(home).group()), as_json, "shelf.show_text", [], '{"id": "t1"}') == OK
    found = document(capsys)
    assert (found["tool"], found["replica"], found["result"]["title"]) == ("shelf.show_text", "shelf-0", "Locks")


def test_a_tools_own_failure_is_an_error_with_its_hint(home: Path, as_json: Output, capsys: Capture) -> None:
    assert call_tool(workspace(home, Shelf(home).group()), as_json, "shelf.show_text", ["id=zz"], None) == TOOL_FAILED
    assert document(capsys)["error"] == {
        "code": "not_found",
        "message": "There is no text 'zz'.",
        "hint": "list_texts lists them.",
    }


@pytest.mark.parametrize(
    ("tool", "words", "kind", "said"),
    [
        ("shelf.show_text", [], BadInput, "'id' is missing"),
        ("shelf.show_text", ["id=t1", "idd=t1"], BadInput, "'idd' is not an argument (near: id)"),
        ("shelf.find_texts", ["query=a", "limit=ten"], BadInput, "'limit': 'ten' is not of type 'integer'"),
        ("shelf.show_txt", ["id=t1"], NotFound, "show_txt"),
        ("shef.show_text", ["id=t1"], NotFound, "'shef'"),
        ("away.anything", [], BadInput, "no-such-command-anywhere"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_sent(
    home: Path, text: Output, tool: str, words: list[str], kind: type[StoaError], said: str
) -> None:
    shelf = Shelf(home)
    with pytest.raises(kind) as caught:
        call_tool(workspace(home, shelf.group(), dead("away")), text, tool, words, None)
    assert said in caught.value.message
    assert shelf.calls == []


def test_a_run_prints_the_answer_its_sources_who_served_it_and_how_to_see_it_again(
    home: Path, text: Output, capsys: Capture
) -> None:
    work = workspace(home, Shelf(home).group())
    assert run_task(work, text, "How do I lock a file?", (), "planner", allow_writes=False) == OK
    out = capsys.readouterr().out
    assert "Call acquire() to lock a file" in out
    assert "[1] Locks  t1.md, characters 0 to" in out
    assert "no model configured: extractive answer" in out
    assert re.search(r"called shelf\.find_texts on shelf-0 in \d+ ms", out)
    run_id = re.findall(r"^run (\w+)  stoa runs show (\w+)$", out, re.MULTILINE)[0]
    assert run_id[0] == run_id[1]


def test_a_long_task_is_repeated_in_short(home: Path, text: Output, capsys: Capture) -> None:
    work = workspace(home, Shelf(home).group())
    assert run_task(work, text, "How do I lock a file?" + " And then?" * 100, (), "planner", allow_writes=False) == OK
    heading = capsys.readouterr().out.splitlines()[0]
    assert heading.startswith("How do I lock a file?")
    assert heading.endswith(" …")
    assert len(heading) <= 200


def test_a_run_in_json_is_the_whole_answer(home: Path, as_json: Output, capsys: Capture) -> None:
    work = workspace(home, Shelf(home).group())
    assert run_task(work, as_json, "How do I lock a file?", (), "planner", allow_writes=False) == OK
    found = document(capsys)
    assert (found["found"], found["model"], found["citations"][0]["title"]) == (True, None, "Locks")
    assert found["is_recorded"] is True
    assert len(found["run_id"]) == 26


def test_a_run_that_finds_nothing_is_no_failure_and_one_whose_calls_fail_is(
    home: Path, as_json: Output, capsys: Capture
) -> None:
    def ended(task: str) -> int:
        work = workspace(home, Shelf(home).group())
        return run_task(work, as_json, task, (), "planner", allow_writes=False)

    assert ended("Why zebras?") == OK
    assert document(capsys)["found"] is False
    assert ended("Show the text 'zz'") == TOOL_FAILED
    assert document(capsys)["steps"][0]["is_error"] is True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    (made / "deep").mkdir(parents=True)
    (made / ".hidden").mkdir()
    (made / "a.md").write_text("# A", "utf-8")
    (made / "deep" / "b.TXT").write_text("b", "utf-8")
    (made / "picture.png").write_bytes(b"\x89PNG")
    (made / ".hidden" / "c.md").write_text("c", "utf-8")
    return made


def bring(work: Workspace, output: Output, *paths: Path, tags: tuple[str, ...] = ()) -> int:
    return ingest_all(work, output, paths, installed=False, tags=tags)


def test_a_folder_is_read_through_and_only_documents_are_sent(
    home: Path, folder: Path, as_json: Output, capsys: Capture
) -> None:
    inbox = Inbox(home)
    assert bring(workspace(home, inbox.group()), as_json, folder, tags=("x",)) == OK
    assert inbox.taken == {"a.md": b"# A", "b.TXT": b"b"}
    assert inbox.tags == ["x", "x"]
    found = document(capsys)
    assert {Path(each["name"]).name for each in found["ingested"]} == {"a.md", "b.TXT"}
    assert (found["failed"], found["left"], found["interrupted"]) == ([], 0, False)


def test_a_file_that_is_named_is_sent_whatever_it_is_called_and_only_once(
    home: Path, folder: Path, as_json: Output, capsys: Capture
) -> None:
    twice = (folder / "picture.png", folder / "deep" / ".." / "picture.png")
    assert bring(workspace(home, Inbox(home).group()), as_json, *twice) == OK
    assert [Path(each["name"]).name for each in document(capsys)["ingested"]] == ["picture.png"]


def test_a_document_is_named_by_its_absolute_path_and_shown_as_it_was_typed(
    home: Path, folder: Path, as_json: Output, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(home)
    monkeypatch.chdir(folder / "deep")
    assert bring(workspace(home, inbox.group()), as_json, Path("b.TXT"), Path("../a.md"), folder / "a.md") == OK
    assert sorted(inbox.names) == sorted(path.resolve().as_posix() for path in (folder / "a.md", folder / "deep/b.TXT"))
    assert {each["name"] for each in document(capsys)["ingested"]} == {"b.TXT", "../a.md"}


def test_one_bad_document_does_not_stop_the_others_and_is_told_at_the_end(
    home: Path, folder: Path, text: Output, capsys: Capture
) -> None:
    inbox = Inbox(home, refuses={"a.md"})
    assert bring(workspace(home, inbox.group()), text, folder, folder / "nowhere.md") == BAD_INPUT
    assert list(inbox.taken) == ["b.TXT"]
    out = capsys.readouterr().out
    assert out.startswith("1 document ingested, 1 passage, 2 failed.\n")
    assert f"{folder / 'a.md'}: It is no document. Send another one." in out
    assert "nowhere.md" in out


def test_a_server_that_is_busy_is_asked_again(home: Path, folder: Path, as_json: Output) -> None:
    inbox = Inbox(home, busy={"a.md"})
    assert bring(workspace(home, inbox.group()), as_json, folder / "a.md") == OK
    assert list(inbox.taken) == ["a.md"]


def test_what_is_known_already_is_counted_apart(home: Path, folder: Path, text: Output, capsys: Capture) -> None:
    inbox = Inbox(home, taken={"a.md": b"# A"})
    assert bring(workspace(home, inbox.group()), text, folder / "a.md") == OK
    assert capsys.readouterr().out == "0 documents ingested, 1 unchanged, 1 passage.\n"


def test_new_replaced_and_unchanged_documents_are_told_apart(
    home: Path, folder: Path, text: Output, as_json: Output, capsys: Capture
) -> None:
    (folder / "new.md").write_text("new", "utf-8")
    taken = {"a.md": b"# An older one", "b.TXT": b"b"}
    assert bring(workspace(home, Inbox(home, taken=dict(taken)).group()), text, folder) == OK
    assert capsys.readouterr().out == "1 document ingested, 1 replaced, 1 unchanged, 3 passages.\n"
    assert bring(workspace(home, Inbox(home, taken=dict(taken)).group()), as_json, folder) == OK
    became = {Path(each["name"]).name: each["status"] for each in document(capsys)["ingested"]}
    assert became == {"a.md": "replaced", "b.TXT": "unchanged", "new.md": "created"}


def test_a_path_with_nothing_to_send_is_refused_at_once(home: Path, tmp_path: Path, text: Output) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        with pytest.raises(BadInput) as caught:
            bring(workspace(home, dead("content")), text, tmp_path / name)
        assert str(tmp_path / name) in caught.value.message


def test_a_file_that_cannot_be_read_or_is_too_large_is_named(
    home: Path, folder: Path, as_json: Output, capsys: Capture
) -> None:
    with (folder / "huge.md").open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)
    (folder / "gone.md").symlink_to(folder / "nowhere")
    (folder / "odd.md").symlink_to("/dev/null")
    names = ("huge.md", "gone.md", "odd.md")
    assert bring(workspace(home, Inbox(home).group()), as_json, *(folder / name for name in names)) == BAD_INPUT
    messages = " ".join(each["message"] for each in document(capsys)["failed"])
    assert all(name in messages for name in names)


def test_the_largest_file_fits_one_message() -> None:
    assert LARGEST_FILE_BYTES * 4 // 3 < MAX_MESSAGE_BYTES - 2**20


def test_what_is_taken_from_a_folder_is_said_once(home: Path, tmp_path: Path, text: Output, capsys: Capture) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    work = workspace(home, Inbox(home).group())
    assert bring(work, text, tmp_path / "one", tmp_path / "two") == BAD_INPUT
    out = capsys.readouterr().out
    assert out.count("No document lies in") == 2
    assert out.count(".rst") == 1


def test_a_path_that_cannot_be_looked_at_does_not_stop_the_others(
    home: Path, folder: Path, as_json: Output, capsys: Capture
) -> None:
    inbox = Inbox(home)
    assert bring(workspace(home, inbox.group()), as_json, folder / ("x" * 300), folder / "a.md") == BAD_INPUT
    assert list(inbox.taken) == ["a.md"]
    assert "x" * 300 in document(capsys)["failed"][0]["name"]


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="nothing is unreadable for the superuser")
def test_a_file_without_permission_is_reported_and_the_others_are_sent(
    home: Path, folder: Path, as_json: Output, capsys: Capture
) -> None:
    inbox = Inbox(home)
    (folder / "a.md").chmod(0)
    assert bring(workspace(home, inbox.group()), as_json, folder) == BAD_INPUT
    assert list(inbox.taken) == ["b.TXT"]
    assert "cannot be read" in document(capsys)["failed"][0]["message"]


def test_a_server_that_takes_no_documents_is_named(home: Path, folder: Path, text: Output) -> None:
    with pytest.raises(BadInput, match="has no tool 'ingest_document'"):
        bring(workspace(home, Shelf(home, name="content").group()), text, folder)
    with pytest.raises(NotFound, match="no server 'content'"):
        bring(workspace(home, Shelf(home).group()), text, folder)
