"""`stoa install` and `stoa uninstall`: another program's file is changed in one place, and given back as it was."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.app import Workspace, open_workspace
from host.client_config import CLIENTS, Client
from host.client_files import read_file
from host.client_places import find_place
from host.commands.install import install, uninstall
from host.output import Output
from stoa.errors import BadInput, Conflict, NotFound

OTHER = '{\n  // mine\n  "mcpServers": {\n    "x": {"command": "y"} // the first\n  },\n  "theme": "dark",\n}\n'


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has run Cursor once."""
    home = tmp_path / "user"
    (home / ".cursor").mkdir(parents=True)
    (home / "project").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(home / "project")
    return home


@pytest.fixture
def file(user: Path) -> Path:
    return user / ".cursor" / "mcp.json"


def workspace(user: Path) -> Workspace:
    return open_workspace(None, {"STOA_HOME": str(user / "stoa")}, folder=user / "project")


def put_in(user: Path, client: Client = "cursor", **changed: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"name": "stoa", "servers": (), "project": False, "dry_run": False} | changed
    assert install(workspace(user), Output(), client, **chosen) == 0
    return chosen


def take_out(user: Path, client: Client = "cursor", **changed: Any) -> None:
    chosen: dict[str, Any] = {"name": "stoa", "project": False, "dry_run": False} | changed
    assert uninstall({"STOA_HOME": str(user / "stoa")}, Output(), client, **chosen) == 0


def entry(file: Path, holder: str = "mcpServers") -> Mapping[str, Any]:
    return json.loads(file.read_text("utf-8"))[holder]["stoa"]


def test_the_entry_starts_the_gateway_from_anywhere(user: Path, file: Path) -> None:
    put_in(user, servers=("content",))
    made = entry(file)
    assert made["type"] == "stdio"
    assert Path(made["command"]).is_absolute()
    assert made["args"][-5:] == ["--config", str(user / "stoa" / "mcp.json"), "gateway", "--server", "content"]
    assert made["env"] == {"STOA_HOME": str(user / "stoa")}
    assert "content" in json.loads((user / "stoa" / "mcp.json").read_text())["mcpServers"]


def test_a_configuration_in_the_present_folder_is_named_with_its_whole_path(user: Path, file: Path) -> None:
    config = user / "project" / "mcp.json"
    config.write_text('{"mcpServers": {"content": {"command": "stoa", "args": ["serve", "content"]}}}')
    put_in(user)
    assert entry(file)["args"][-3:] == ["--config", str(config), "gateway"]
    assert not (user / "stoa" / "mcp.json").exists()


def test_everything_else_stays_and_a_copy_is_kept_until_it_is_taken_out(user: Path, file: Path) -> None:
    file.write_text(OTHER)
    put_in(user)
    assert file.read_text().startswith('{\n  // mine\n  "mcpServers": {\n    "x": {"command": "y"}, // the first\n')
    assert file.read_text().endswith('\n  },\n  "theme": "dark",\n}\n')
    backup = file.with_name("mcp.json.stoa-backup")
    assert backup.read_text() == OTHER
    put_in(user, servers=("content",))
    assert backup.read_text() == OTHER
    take_out(user)
    assert file.read_text() == OTHER
    assert os.listdir(file.parent) == ["mcp.json"]


@pytest.mark.parametrize("before", [b"", b"\n", b"{}", b"{ }", b'\xef\xbb\xbf{"mcpServers": { } }\r\n', b'{"a":1}'])
def test_any_small_file_is_given_back_byte_for_byte(user: Path, file: Path, before: bytes) -> None:
    file.write_bytes(before)
    put_in(user)
    assert b"gateway" in file.read_bytes()
    assert file.read_bytes().startswith(b"\xef\xbb\xbf") == before.startswith(b"\xef\xbb\xbf")
    take_out(user)
    assert file.read_bytes() == before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
SERVERS = st.dictionaries(st.sampled_from(["x", "y", "Stoa", "//"]), VALUES, max_size=3)


@given(
    st.dictionaries(st.sampled_from(["a", "z"]), VALUES),
    st.none() | SERVERS,
    st.none() | st.integers(0, 8) | st.just("\t"),
    st.booleans(),
)
@settings(  # the file is written anew; a busy disk is no failure
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
def test_any_file_is_given_back_byte_for_byte(
    user: Path, file: Path, rest: dict[str, Any], servers: dict[str, Any] | None, indent: int | str | None, ascii: bool
) -> None:
    document = rest if servers is None else {**rest, "mcpServers": servers, "last": 1}
    before = json.dumps(document, indent=indent, ensure_ascii=ascii).encode()
    file.write_bytes(before)
    put_in(user)
    found = json.loads(file.read_bytes())
    assert found["mcpServers"].pop("stoa")["args"][-1] == "gateway"
    assert found == {**document, "mcpServers": servers or {}}
    take_out(user)
    assert file.read_bytes() == before


def test_what_was_changed_in_between_stays(user: Path, file: Path) -> None:
    file.write_text(OTHER)
    put_in(user)
    file.write_text(file.read_text().replace("dark", "light"))
    take_out(user)
    assert file.read_text() == OTHER.replace("dark", "light")
    assert file.with_name("mcp.json.stoa-backup").read_text() == OTHER


def test_a_file_that_did_not_exist_is_removed_again(user: Path, file: Path) -> None:
    put_in(user)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    take_out(user)
    assert os.listdir(file.parent) == []


def test_a_dry_run_shows_the_difference_without_secrets_and_writes_nothing(
    user: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('{"mcpServers": {"x": {"env": {"API_TOKEN": "abcdef"}}}}')
    before = file.stat()
    put_in(user, dry_run=True)
    out, err = capsys.readouterr()
    assert '"gateway"' in out
    assert "abcdef" not in out
    assert "Nothing was written" in err
    assert (file.stat().st_mtime_ns, os.listdir(file.parent)) == (before.st_mtime_ns, ["mcp.json"])
    assert not (user / "stoa").exists()


def test_a_link_is_followed_and_stays_a_link_and_the_mode_stays(user: Path, file: Path) -> None:
    real = user / "dotfiles" / "cursor.json"
    real.parent.mkdir()
    real.write_text("{}")
    real.chmod(0o640)
    file.symlink_to(real)
    put_in(user)
    assert file.is_symlink()
    assert entry(real)["args"][-1] == "gateway"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert stat.S_IMODE((real.parent / "cursor.json.stoa-backup").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{\n  "mcpServers": {,}\n}', r"line 2, column 18"),
        (b"[1]", "no JSON object"),
        (b'{"mcpServers": []}', "mcpServers is no object"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
    ],
)
def test_a_broken_file_is_refused_with_the_place_and_stays(user: Path, file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        put_in(user)
    assert file.read_bytes() == content
    assert os.listdir(file.parent) == ["mcp.json"]


def test_what_is_no_file_is_refused(user: Path, file: Path) -> None:
    file.mkdir()
    with pytest.raises(BadInput, match=r"mcp\.json"):
        put_in(user)
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(BadInput, match="no regular file"):
        put_in(user)


def test_a_server_of_somebody_else_is_neither_replaced_nor_taken_out(user: Path, file: Path) -> None:
    file.write_text('{"mcpServers": {"stoa": {"command": "other", "args": ["gateway"]}}}')
    with pytest.raises(Conflict, match="was not written by stoa"):
        put_in(user)
    with pytest.raises(Conflict, match="was not written by stoa"):
        take_out(user)
    put_in(user, name="mine")
    assert set(json.loads(file.read_text())["mcpServers"]) == {"stoa", "mine"}


def test_a_client_that_is_not_there_is_named_and_the_entry_is_shown(user: Path) -> None:
    with pytest.raises(NotFound, match="VS Code does not seem to be installed here") as caught:
        put_in(user, "vscode")
    assert '"servers": {' in caught.value.hint
    assert "gateway" in caught.value.hint


def test_a_project_has_a_file_of_its_own(user: Path) -> None:
    put_in(user, "vscode", project=True)
    put_in(user, "claude-code", project=True)
    assert entry(user / "project" / ".vscode" / "mcp.json", "servers")["type"] == "stdio"
    assert entry(user / "project" / ".mcp.json")["args"][-1] == "gateway"
    with pytest.raises(BadInput, match="no projects"):
        put_in(user, "claude-desktop", project=True)


def test_taking_out_what_is_not_there_is_no_error(user: Path, file: Path) -> None:
    take_out(user)
    file.write_text(OTHER)
    take_out(user)
    assert file.read_text() == OTHER


def test_names_are_checked(user: Path) -> None:
    with pytest.raises(BadInput, match="cannot be a server's name"):
        put_in(user, name="a b")
    with pytest.raises(NotFound, match="no server 'absent'"):
        put_in(user, servers=("absent",))


def test_a_file_that_changes_meanwhile_is_not_overwritten(file: Path) -> None:
    file.write_text("{}")
    found = read_file(file, new_mode=0o600)
    file.write_text('{"new": 1}')
    with pytest.raises(Conflict, match="has changed in the meantime"):
        found.replace(b"{}")
    assert file.read_text() == '{"new": 1}'


def test_variables_that_the_client_will_not_have_are_told(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = user / "project" / "mcp.json"
    config.write_text('{"mcpServers": {"x": {"command": "y", "env": {"A": "${MY_KEY}"}}}}')
    environ = {"STOA_HOME": str(user / "stoa"), "MY_KEY": "hidden"}
    work = open_workspace(None, environ, folder=user / "project")
    install(work, Output(), "cursor", name="stoa", servers=(), project=False, dry_run=False)
    told = capsys.readouterr().err
    assert "MY_KEY" in told
    assert "hidden" not in told


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_has_its_place_on_each_platform(client: Client) -> None:
    home = Path("/home/me")
    ends = {
        "linux": {
            "claude-desktop": ".config/Claude/claude_desktop_config.json",
            "vscode": ".config/Code/User/mcp.json",
        },
        "darwin": {
            "claude-desktop": "Library/Application Support/Claude/claude_desktop_config.json",
            "vscode": "Library/Application Support/Code/User/mcp.json",
        },
        "win32": {
            "claude-desktop": "AppData/Roaming/Claude/claude_desktop_config.json",
            "vscode": "AppData/Roaming/Code/User/mcp.json",
        },
    }
    everywhere = {"claude-code": ".claude.json", "cursor": ".cursor/mcp.json"}
    for platform, own in ends.items():
        place = find_place(client, project=None, platform=platform, home=home, environ={})
        assert place.file == home / (own | everywhere)[client]
        assert place.holder == ("servers" if client == "vscode" else "mcpServers")
