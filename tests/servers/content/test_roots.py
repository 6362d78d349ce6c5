"""Paths: only regular files below allowed folders, whatever links and races try."""

import contextlib
import os
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import anyio
import pytest

from servers.content import roots as room
from servers.content.roots import check_roots, read_below, resolve
from stoa.errors import BadInput, Denied, NotFound


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("inside")
    (folder / "sub" / "b.txt").write_text("deeper")
    (tmp_path / "secret.txt").write_text("the secret")
    return folder


def test_a_file_below_a_root_is_read_by_absolute_and_by_relative_path(root: Path) -> None:
    assert read_below(str(root / "a.txt"), [root]) == (b"inside", root / "a.txt")
    assert read_below("sub/b.txt", [root]) == (b"deeper", root / "sub" / "b.txt")


def test_a_relative_path_is_looked_for_in_each_root(root: Path) -> None:
    assert read_below("b.txt", [root, root / "sub"])[0] == b"deeper"


def test_without_roots_nothing_is_read_and_the_way_to_allow_it_is_told(root: Path) -> None:
    with pytest.raises(Denied) as caught:
        resolve(str(root / "a.txt"), [])
    assert "--root" in caught.value.hint


@pytest.mark.parametrize("path", ["../secret.txt", "sub/../../secret.txt", "sub/../a.txt"])
def test_dots_that_climb_are_refused(root: Path, path: str) -> None:
    with pytest.raises(Denied, match=r"\.\."):
        resolve(path, [root])


def test_a_path_outside_is_refused_naming_path_and_allowed_roots(root: Path) -> None:
    with pytest.raises(Denied) as caught:
        resolve("/etc/passwd", [root])
    assert "/etc/passwd" in caught.value.message
    assert str(root) in caught.value.hint


def test_whether_something_exists_outside_is_not_told(root: Path) -> None:
    messages: list[str] = []
    for path in (root.parent / "secret.txt", root.parent / "missing.txt"):
        with pytest.raises(Denied) as caught:
            resolve(str(path), [root])
        messages.append(str(caught.value).replace(path.name, "X"))
    assert messages[0] == messages[1]


def test_a_neighbour_whose_name_begins_the_same_is_outside(root: Path) -> None:
    neighbour = root.with_name("docs-private")
    neighbour.mkdir()
    (neighbour / "a.txt").write_text("no")
    with pytest.raises(Denied):
        resolve(str(neighbour / "a.txt"), [root])


@pytest.mark.parametrize("target", ["../secret.txt", "../missing.txt", "/etc/passwd"])
def test_a_link_that_leads_out_is_refused(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    with pytest.raises(Denied, match="leads out"):
        read_below("link", [root])


def test_a_folder_link_that_leads_out_is_refused(root: Path) -> None:
    (root / "up").symlink_to("..")
    with pytest.raises(Denied):
        read_below("up/secret.txt", [root])


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link").symlink_to("sub/b.txt")
    assert read_below("link", [root]) == (b"deeper", root / "sub" / "b.txt")


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    with pytest.raises((Denied, NotFound)):
        read_below("x", [root])


def test_a_missing_file_below_a_root_is_not_found(root: Path) -> None:
    with pytest.raises(NotFound, match="nothing\\.txt"):
        read_below("nothing.txt", [root])


@pytest.mark.parametrize("path", ["", "  ", "a\x00b"])
def test_what_is_no_path_is_refused(root: Path, path: str) -> None:
    with pytest.raises(BadInput, match="not a path"):
        resolve(path, [root])


def test_a_name_longer_than_any_is_refused(root: Path) -> None:
    with pytest.raises((Denied, NotFound)):
        resolve("x" * 5000, [root])


def test_a_folder_is_refused(root: Path) -> None:
    with pytest.raises(BadInput, match="folder"):
        read_below("sub", [root])


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [_pipe, _socket])
async def test_a_pipe_or_socket_is_refused_without_waiting(
    root: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)  # socket paths are short
    make(Path("odd"))
    with anyio.fail_after(5), _released(root / "odd"), pytest.raises(BadInput, match="regular file"):
        await anyio.to_thread.run_sync(read_below, "odd", [root], abandon_on_cancel=True)


@contextlib.contextmanager
def _released(pipe: Path) -> Generator[None]:
    """Lets go of a reader that waits at a pipe, so that a failing test ends."""
    try:
        yield
    finally:
        if pipe.is_fifo():
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


def test_a_device_is_refused() -> None:
    with pytest.raises(BadInput, match="regular file"):
        read_below("/dev/zero", [Path("/dev")])


def test_a_file_above_the_limit_is_refused(root: Path) -> None:
    (root / "big").write_bytes(b"x" * 101)
    with pytest.raises(BadInput, match="more than 100 bytes"):
        read_below("big", [root], max_bytes=100)
    assert len(read_below("big", [root], max_bytes=101)[0]) == 101


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused_with_the_reason(root: Path) -> None:
    (root / "a.txt").chmod(0)
    with pytest.raises(Denied, match="ermission"):
        read_below("a.txt", [root])


def _swap_file(root: Path) -> None:
    (root / "sub" / "b.txt").unlink()
    (root / "sub" / "b.txt").symlink_to("../../secret.txt")


def _swap_folder(root: Path) -> None:
    (root / "sub").rename(root / "old")
    (root.parent / "b.txt").write_text("the secret")
    (root / "sub").symlink_to("..")


def _swap_pipe(root: Path) -> None:
    (root / "sub" / "b.txt").unlink()
    os.mkfifo(root / "sub" / "b.txt")


@pytest.mark.parametrize("swap", [_swap_file, _swap_folder, _swap_pipe])
async def test_what_is_swapped_between_check_and_opening_is_refused(
    root: Path, swap: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve_then_swap(path: str, roots: list[Path]) -> Path:
        real = resolve(path, roots)
        swap(root)
        return real

    monkeypatch.setattr(room, "resolve", resolve_then_swap)
    pipe = root / "sub" / "b.txt"
    with anyio.fail_after(5), _released(pipe), pytest.raises((Denied, BadInput)):
        await anyio.to_thread.run_sync(read_below, "sub/b.txt", [root], abandon_on_cancel=True)


def test_no_descriptor_stays_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    for path in ("a.txt", "sub/b.txt"):
        read_below(path, [root])
    with pytest.raises(BadInput):
        read_below("a.txt", [root], max_bytes=1)
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    assert after == before


def test_roots_are_resolved_and_repeated_ones_dropped(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert check_roots([link, root], force=False) == (root,)


@pytest.mark.parametrize("which", ["top", "home", "above home"])
def test_the_top_and_the_home_folder_are_refused_unless_forced(tmp_path: Path, which: str) -> None:
    home = tmp_path.resolve() / "users" / "me"
    home.mkdir(parents=True)
    folder = {"top": Path("/"), "home": home, "above home": home.parent}[which]
    with pytest.raises(Denied) as caught:
        check_roots([folder], force=False, home=home)
    assert str(folder) in caught.value.message
    assert check_roots([folder], force=True, home=home) == (folder,)


def test_a_folder_in_the_home_folder_is_fine(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "notes"
    folder.mkdir()
    assert check_roots([folder], force=False, home=tmp_path) == (folder,)


def test_a_root_that_is_missing_or_no_folder_is_refused_naming_it(root: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        check_roots([root / "nowhere"], force=False)
    with pytest.raises(BadInput, match="not a folder"):
        check_roots([root / "a.txt"], force=False)
