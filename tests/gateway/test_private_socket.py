"""The socket that only processes of one person reach: where it lies, and that nothing of it is left."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.private_socket import listening

HELD = """
import sys, time
from pathlib import Path
from gateway.private_socket import listening
with listening(Path(sys.argv[1])) as (_, address):
    print(address, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """pytest's own folders have paths that are too long for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def answers(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(address.removeprefix("unix:")) == 0


def test_it_lies_in_a_folder_that_is_closed_to_others_and_goes_at_the_end(short: Path) -> None:
    (short / "run").mkdir(mode=0o755)
    with listening(short) as (_, address):
        path = Path(address.removeprefix("unix:"))
        assert path.parent == short / "run"
        assert (mode(path.parent), mode(path)) == (0o700, 0o600)
        assert answers(address)
    assert list((short / "run").iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_and_the_living_are_left_alone(short: Path) -> None:
    command = [sys.executable, "-c", HELD, str(short)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as living,
    ):
        assert killed.stdout is not None
        assert living.stdout is not None
        left, held = killed.stdout.readline().strip(), living.stdout.readline().strip()
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        assert Path(left.removeprefix("unix:")).exists()
        with listening(short) as (_, address):
            assert not Path(left.removeprefix("unix:")).exists()
            assert answers(held)
            assert len(list((short / "run").iterdir())) == 4
            assert len({address, held, left}) == 3
        living.kill()


def test_a_home_with_a_long_path_has_its_socket_in_the_temporary_folder(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    with listening(short / ("long" * 30)) as (_, address):
        folder = Path(address.removeprefix("unix:")).parent
        assert folder == short / f"stoa-{os.getuid()}"
        assert mode(folder) == 0o700
        assert answers(address)
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_a_link_elsewhere_is_not_used(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short / "nowhere" / "at" / "all"))
    (short / "nowhere").touch()
    (short / "elsewhere").mkdir()
    (short / "run").symlink_to(short / "elsewhere")
    with listening(short) as (listener, address):
        assert listener.getsockname()[0] == "127.0.0.1"
        assert address == f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    assert list((short / "elsewhere").iterdir()) == []


def test_a_link_in_place_of_a_lock_is_not_followed(short: Path) -> None:
    with listening(short):
        pass
    (short / "precious").write_text("x")
    (short / "run" / "abcd.lock").symlink_to(short / "precious")
    with listening(short) as (_, address):
        assert Path(address.removeprefix("unix:")).parent == short / "run"
    assert (short / "precious").read_text() == "x"


def test_those_who_start_at_the_same_moment_all_find_room_in_the_home(short: Path) -> None:
    def open_often(_: int) -> set[Path]:
        found: set[Path] = set()
        for _ in range(25):
            with listening(short) as (_listener, address):
                found.add(Path(address.removeprefix("unix:")).parent)
        return found

    with ThreadPoolExecutor(8) as threads:
        assert [folders for folders in threads.map(open_often, range(8)) if folders != {short / "run"}] == []
