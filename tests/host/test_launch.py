"""Which configured commands are ours, and what their words mean elsewhere."""

from pathlib import Path

import pytest

from host.launch import launches
from pool.spec import GroupSpec, HttpSpec, StdioSpec

HERE = Path("/here")


def started(command: str, *args: str, cwd: str | None = None) -> list[tuple[str, str, tuple[str, ...]]]:
    group = GroupSpec("docs", (StdioSpec(command, args, cwd=cwd),))
    return [(each.name, each.server, each.anywhere().args) for each in launches([group], folder=HERE)]


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("stoa", ("serve", "content")),
        ("/opt/venv/bin/stoa", ("serve", "content")),
        ("stoa.exe", ("serve", "content")),
        ("python3.12", ("-m", "servers.content")),
    ],
)
def test_our_commands_are_known(command: str, args: tuple[str, ...]) -> None:
    assert started(command, *args) == [("docs", "content", ())]


@pytest.mark.parametrize(
    ("command", "args"),
    [("npx", ("serve", "content")), ("stoa", ("gateway",)), ("stoa", ("serve",)), ("python", ("-m", "other.content"))],
)
def test_other_commands_are_not_ours(command: str, args: tuple[str, ...]) -> None:
    assert started(command, *args) == []


def test_an_address_is_not_started_by_us() -> None:
    assert launches([GroupSpec("far", (HttpSpec("http://127.0.0.1:1/mcp"),))], folder=HERE) == ()


def test_relative_roots_become_absolute_from_the_folder_of_the_server() -> None:
    assert started("stoa", "serve", "content", "--root", "docs", "--root=/srv", "--force-root", cwd="sub") == [
        ("docs", "content", ("--root", "/here/sub/docs", "--root", "/srv", "--force-root"))
    ]


def test_roots_and_force_are_read_for_a_server_in_this_process() -> None:
    group = GroupSpec("docs", (StdioSpec("stoa", ("serve", "content", "--root", "docs", "--force-root")),))
    (launch,) = launches([group], folder=HERE)
    assert launch.roots == (HERE / "docs",)
    assert launch.forces_roots
