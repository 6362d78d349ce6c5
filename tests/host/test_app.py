"""Composition: where the configuration comes from, what is ours in it, which folders may be read."""

import json
import sys
from pathlib import Path

import pytest

from host.app import installed_servers, load_settings, open_workspace, start_command, with_roots
from stoa.errors import BadInput, NotFound

OURS = {"command": "stoa", "args": ["serve", "content", "--root", "docs"]}


def written(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {name: OURS}}), "utf-8")
    return path


def names(config: Path | None, home: Path, folder: Path) -> list[str]:
    work = open_workspace(config, {"STOA_HOME": str(home)}, folder=folder)
    return [group.name for group in work.groups]


def test_the_nearest_configuration_is_used(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    assert names(None, home, here) == list(installed_servers())
    written(home, "at_home")
    assert names(None, home, here) == ["at_home"]
    written(here, "near")
    assert names(None, home, here) == ["near"]
    assert names(written(tmp_path / "other", "named"), home, here) == ["named"]


def test_the_built_in_configuration_trusts_every_installed_server_and_each_is_ours(tmp_path: Path) -> None:
    work = open_workspace(None, {"STOA_HOME": str(tmp_path)}, folder=tmp_path)
    assert "content" in installed_servers()
    assert work.trusted == set(installed_servers())
    assert {(launch.name, launch.server) for launch in work.ours()} == {(name, name) for name in installed_servers()}


def test_a_configuration_that_is_named_and_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.json"):
        names(tmp_path / "nowhere.json", tmp_path, tmp_path)


def test_a_server_that_is_not_configured_is_named_with_what_is_near(tmp_path: Path) -> None:
    work = open_workspace(None, {"STOA_HOME": str(tmp_path)}, folder=tmp_path)
    with pytest.raises(NotFound) as caught:
        work.group("contnt")
    assert "'content'" in caught.value.hint


def test_nothing_of_ours_in_a_configuration_is_told(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"other": {"command": "npx", "args": ["thing"]}}}', "utf-8")
    with pytest.raises(BadInput, match="stoa serve"):
        open_workspace(None, {"STOA_HOME": str(tmp_path)}, folder=tmp_path).ours()


def test_stoa_is_started_by_the_script_beside_this_python() -> None:
    (script,) = start_command()
    assert Path(script).parent == Path(sys.executable).parent
    assert Path(script).is_absolute()


def test_roots_of_the_command_line_go_before_those_of_the_environment(tmp_path: Path) -> None:
    settings = load_settings({"STOA_HOME": str(tmp_path), "STOA_ROOTS": str(tmp_path / "a")})
    assert with_roots(settings, [], force=False).roots == (tmp_path / "a",)
    named = with_roots(settings, [Path("b")], force=True)
    assert (named.roots, named.force_roots) == ((Path("b").absolute(),), True)
    assert with_roots(named, [], force=False).force_roots
