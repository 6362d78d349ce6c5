"""`mcp.json` is followed: what changes is told in a line, what is broken is refused, a closed terminal ends it all."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from host.reload import watch
from pool.spec import GroupSpec

PATIENCE_SECONDS = 20
ONE = '{"mcpServers": {"a": {"command": "x"}}}'
TWO = '{"mcpServers": {"a": {"command": "x"}, "b": {"command": "y"}}}'


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


@dataclass
class Changes:
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass
class Groups:
    """Stands for a pool: it knows which groups it has, and tells what became different."""

    now: dict[str, GroupSpec] = field(default_factory=dict[str, GroupSpec])

    async def reconfigure(self, groups: Iterable[GroupSpec]) -> Changes:
        before, self.now = self.now, {group.name: group for group in groups}
        return Changes(
            tuple(self.now.keys() - before.keys()),
            tuple(before.keys() - self.now.keys()),
            tuple(name for name in self.now.keys() & before.keys() if self.now[name] != before[name]),
        )


class Followed:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.pool = Groups({"a": GroupSpec("a", ())})
        self._send, self._told = anyio.create_memory_object_stream[str](100)

    def say(self, line: str) -> None:
        self._send.send_nowait(line)

    async def told(self) -> str:
        with anyio.fail_after(PATIENCE_SECONDS):
            return await self._told.receive()

    @property
    def silent(self) -> bool:
        return self._told.statistics().current_buffer_used == 0

    def close(self) -> None:
        self._send.close()
        self._told.close()


@asynccontextmanager
async def followed(path: Path) -> AsyncGenerator[Followed]:
    file = Followed(path)
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            await watch(path, {}, file.pool, file.say, every_seconds=0.02, task_status=task_status)

        await tasks.start(run)
        try:
            yield file
        finally:
            tasks.cancel_scope.cancel()
            file.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mcp.json"
    path.write_text(ONE)
    return path


async def test_what_was_added_changed_and_removed_is_said_in_one_line(path: Path) -> None:
    async with followed(path) as file:
        write(path, TWO)
        assert await file.told() == f"{path} is read again: added b; changed a."
        write(path, '{"mcpServers": {"b": {"command": "z"}}}')
        assert await file.told() == f"{path} is read again: changed b; removed a."
        assert set(file.pool.now) == {"b"}


async def test_a_broken_file_is_refused_and_the_old_one_stays(path: Path) -> None:
    async with followed(path) as file:
        write(path, '{"mcpServers": ')
        said = await file.told()
        assert "is refused, what it said before stays in use: " in said
        assert said.count(str(path)) == 1
        assert "line 1, column" in said
        assert set(file.pool.now) == {"a"}
        write(path, TWO)
        assert "added b" in await file.told()


async def test_a_file_that_another_takes_the_place_of_is_seen(path: Path) -> None:
    async with followed(path) as file:
        write(path.with_suffix(".new"), TWO)
        path.with_suffix(".new").rename(path)
        assert "added b" in await file.told()


async def test_a_link_that_is_turned_elsewhere_is_seen(path: Path) -> None:
    link, other = path.with_name("link.json"), path.with_name("other.json")
    other.write_text(TWO)
    link.symlink_to(path)
    async with followed(link) as file:
        link.unlink()
        link.symlink_to(other)
        said = await file.told()
        if "is gone" in said:  # a look between the two steps
            said = await file.told()
        assert "added b" in said


async def test_a_file_that_is_gone_takes_nothing_with_it(path: Path) -> None:
    async with followed(path) as file:
        remove(path)
        assert await file.told() == f"{path} is gone; what it said stays in use."
        assert set(file.pool.now) == {"a"}
        write(path, TWO)
        assert "added b" in await file.told()


async def test_a_hangup_reads_the_file_again_also_when_nothing_has_changed(path: Path) -> None:
    before = signal.getsignal(signal.SIGHUP)
    async with followed(path) as file:
        file.pool.now = {"a": (await read(path))[0]}
        os.kill(os.getpid(), signal.SIGHUP)
        assert await file.told() == f"{path} is read again: nothing has changed."
        os.utime(path)
        os.kill(os.getpid(), signal.SIGHUP)
        assert await file.told() == f"{path} is read again: nothing has changed."
    assert signal.getsignal(signal.SIGHUP) == before


async def read(path: Path) -> tuple[GroupSpec, ...]:
    from pool.config.mcp_json import read_config

    return read_config(path, {})


async def test_a_hangup_that_the_parent_ignores_stays_ignored(path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with followed(path) as file:
            os.kill(os.getpid(), signal.SIGHUP)
            write(path, TWO)
            assert "added b" in await file.told()
            assert file.silent
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


FOLLOWING = """
import os, sys
from pathlib import Path
import anyio
from host.reload import watch
from host.signals import Stopping

class Pool:
    async def reconfigure(self, groups):
        class Changes:
            added, changed, removed = (), (), ()
        return Changes

def say(line):
    os.write(told, b"read\\n")

async def main():
    async with anyio.create_task_group() as tasks:
        await tasks.start(start)

async def start(*, task_status):
    async with anyio.create_task_group() as tasks:
        async def follow(*, task_status):
            await watch(Path(sys.argv[1]), {}, Pool(), say, task_status=task_status)
        await tasks.start(follow)
        os.write(told, b"started\\n")
        task_status.started()

told = int(sys.argv[2])
stopping = Stopping()
stopping.tidily()
try:
    anyio.run(main)
except KeyboardInterrupt:
    sys.exit(stopping.code(130))
"""


@pytest.mark.parametrize("has_terminal", [True, False], ids=["in a terminal", "without one"])
def test_a_hangup_reloads_and_a_closed_terminal_ends_it(path: Path, has_terminal: bool) -> None:
    """The process leads a session of its own, so that closing the terminal's other end is what sends it SIGHUP."""
    master, slave = pty.openpty()
    reading, writing = os.pipe()
    take_terminal = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" if has_terminal else ""
    stream = slave if has_terminal else subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-c", take_terminal + FOLLOWING, str(path), str(writing)],
        stdin=stream,
        stdout=stream,
        stderr=stream,
        pass_fds=(writing,),
        start_new_session=True,
    )
    try:
        os.close(slave)
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            assert told.readline() == b"started\n"
            process.send_signal(signal.SIGHUP)
            assert told.readline() == b"read\n"
            if has_terminal:
                os.close(master)
                assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGHUP
            else:
                process.send_signal(signal.SIGHUP)
                assert told.readline() == b"read\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
                os.close(master)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE_SECONDS)
