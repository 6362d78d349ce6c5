"""What the doctor finds, and what it advises."""

import socket
import tomllib
from pathlib import Path

import pytest

from host.doctor import Check, examine, import_names, masked, node, pools, python, tool_search
from pool.balance.policy import BalancePolicy
from pool.spec import GroupSpec, StdioSpec
from stoa.errors import BadInput

KEY = "sk-abcdefghijklmnopqrstuvwxyz"


def found(
    home: Path, *, environ: dict[str, str] | None = None, ports: dict[str, int] | None = None
) -> dict[str, Check]:
    checks = examine(home=home, environ=environ or {}, servers=["content"], config="built in", ports=ports or {})
    return {check.what: check for check in checks}


def test_a_healthy_machine_has_nothing_bad_and_nothing_is_left_behind(tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    assert [check for check in found(home).values() if check.verdict == "bad"] == []
    assert list(tmp_path.iterdir()) == []


def test_an_old_python_is_bad() -> None:
    assert python((3, 10, 9)).verdict == "bad"
    assert "3.11" in python((3, 10, 9)).remedy
    assert python((3, 14, 0)).verdict == "ok"


def test_a_key_is_shown_by_its_end_only(tmp_path: Path) -> None:
    check = found(tmp_path, environ={"OPENAI_API_KEY": KEY})["OPENAI_API_KEY"]
    assert check.verdict == "ok"
    assert KEY not in check.found
    assert KEY[-4:] in check.found
    assert masked("X_KEY", "short") == "set"
    assert masked("STOA_MODEL_URL", "https://u:p@x.example/v1?key=1") == "set (x.example/v1)"


def test_a_home_that_is_a_file_is_bad(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("", "utf-8")
    check = found(tmp_path / "home")["STOA_HOME"]
    assert check.verdict == "bad"
    assert "STOA_HOME" in check.remedy


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_home_where_nothing_can_be_made_is_bad() -> None:
    assert found(Path("/proc/stoa/home"))["STOA_HOME"].verdict == "bad"


def test_a_home_that_others_can_read_is_noted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert "chmod 700" in found(tmp_path)["STOA_HOME"].remedy


def test_a_port_in_use_is_noted_with_the_option_that_helps(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        check = found(tmp_path, ports={"content": port})[f"Port {port}"]
    assert check.verdict == "note"
    assert "--port" in check.remedy


def test_a_broken_configuration_is_bad_and_its_remedy_is_kept(tmp_path: Path) -> None:
    error = BadInput("mcp.json is broken.", hint="Mend it.")
    checks = examine(home=tmp_path, environ={}, servers=[], config=error, ports={})
    bad = {check.what: check.remedy for check in checks if check.verdict == "bad"}
    assert bad["Configuration"] == "Mend it."
    assert "Installed servers" in bad


@pytest.mark.parametrize(("said", "verdict"), [("v24.1.0", "ok"), ("v18.0.0", "note"), ("what?", "note")])
def test_node_is_asked_for_its_version(tmp_path: Path, said: str, verdict: str) -> None:
    command = tmp_path / "node"
    command.write_text(f"#!/bin/sh\necho '{said}'\n", "utf-8")
    command.chmod(0o755)
    assert node(str(command)).verdict == verdict


def test_a_node_that_is_missing_or_broken_is_only_noted() -> None:
    assert node(None).verdict == "note"
    assert node("/nowhere/node").verdict == "note"


def test_packages_of_the_same_names_from_elsewhere_are_reported() -> None:
    assert import_names({"pool": ["stoa-mcp"], "rich": ["rich"]}).verdict == "ok"
    check = import_names({"pool": ["stoa-mcp", "swimming"], "host": ["stoa-mcp"]})
    assert check.verdict == "bad"
    assert "pool (swimming)" in check.found


def test_tokens_that_others_can_read_are_bad(tmp_path: Path) -> None:
    assert found(tmp_path)["Logins"].found == "none"
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    token = folder / "h-1.json"
    token.write_text("{}")
    token.chmod(0o600)
    assert found(tmp_path)["Logins"].verdict == "ok"
    token.chmod(0o644)
    check = found(tmp_path)["Logins"]
    assert (check.verdict, str(token) in check.found, "log in again" in check.remedy) == ("bad", True, True)


@pytest.mark.parametrize(
    ("group", "told"),
    [
        (GroupSpec("a", (StdioSpec("x"),), spares=1), "spares: 1, replicas: 1"),
        (GroupSpec("a", (StdioSpec("x"),), replicas=64, spares=1), "up to 65 processes"),
        (GroupSpec("a", (StdioSpec("x"),), probe_interval_seconds=1), "a probe may take 5 s"),
        (GroupSpec("a", (StdioSpec("x"),), max_age_seconds=10), "replaced each 10 s"),
        (GroupSpec("a", (StdioSpec("x"),), policy=BalancePolicy(strategy="weighted")), "all weights are the same"),
    ],
)
def test_settings_of_a_pool_that_are_hardly_meant_are_noted(group: GroupSpec, told: str) -> None:
    (check,) = pools([group])
    assert (check.verdict, told in check.found) == ("note", True)


def test_usual_settings_are_not_spoken_of() -> None:
    assert (
        list(pools([GroupSpec("a", (StdioSpec("x"),)), GroupSpec("b", (StdioSpec("x"),), replicas=4, spares=1)])) == []
    )


def test_the_configuration_says_how_many_servers_it_has(tmp_path: Path) -> None:
    groups = [GroupSpec(name, (StdioSpec("x"),)) for name in ("a", "b")]
    checks = examine(home=tmp_path, environ={}, servers=["content"], config="mcp.json", ports={}, groups=groups)
    assert {check.what: check.found for check in checks}["Configuration"] == "mcp.json (2 servers)"


def test_tool_search_says_what_it_takes_to_find_by_meaning() -> None:
    assert tool_search({"STOA_EMBEDDER": "off"}) == Check("Tool search", "ok", "by words (STOA_EMBEDDER is off)")
    here = tool_search({})
    assert here.verdict == "ok" or "pip install" in here.remedy
    assert "/a/model" in tool_search({"STOA_EMBEDDER": "/a/model"}).found


def test_each_package_of_ours_is_looked_for_in_others() -> None:
    root = Path(__file__).parents[2]
    packages = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in packages["packages"]:
        assert import_names({name: ["stoa-mcp", "another"]}).verdict == "bad", name
