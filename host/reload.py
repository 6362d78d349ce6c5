"""Following `mcp.json` while servers run: a changed file, or SIGHUP, and the pool has the new groups.

Calls in flight are not dropped: that is the pool's business. A file that cannot be used is refused in one line, and
what was there before stays. SIGHUP that comes because the terminal has closed ends the command, as everywhere.
"""

import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream

from pool.config.mcp_json import read_config
from pool.spec import GroupSpec
from stoa.errors import StoaError

__all__ = ["Changed", "Reconfigured", "watch"]

EVERY_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 0.1
"""A file is read when it has not changed for so long: editors write in pieces."""
MAX_SETTLES: Final = 50
_HANGUP: Final = next((number for number in signal.Signals if number.name == "SIGHUP"), None)  # Windows has none

Handler = Callable[[int, FrameType | None], object] | int | None
_Print = tuple[int, int, int, int, int]
"""What tells two states of a file apart: device, inode, size, times of writing and of replacing."""


class Changed(Protocol):
    """Names of groups."""

    @property
    def added(self) -> Iterable[str]: ...
    @property
    def removed(self) -> Iterable[str]: ...
    @property
    def changed(self) -> Iterable[str]: ...


class Reconfigured(Protocol):
    """What can be given new groups while it works: a pool."""

    async def reconfigure(self, groups: Iterable[GroupSpec]) -> Changed: ...


async def watch(
    path: Path,
    environ: Mapping[str, str],
    pool: Reconfigured,
    say: Callable[[str], None],
    *,
    read: Callable[[Path, Mapping[str, str]], Iterable[GroupSpec]] = read_config,
    every_seconds: float = EVERY_SECONDS,
    task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
) -> None:
    """Follow the file until cancelled. `say` is told in one line what became of each change.

    `read` is how its groups are found; it raises `BadInput`. With `tasks.start(…)`, it follows as soon as that returns.
    """
    seen = _print(path)
    async with _asked() as asked:
        task_status.started()
        while True:
            is_asked = await _wait(asked, every_seconds)
            now = _print(path)
            if now == seen and not is_asked:
                continue
            seen = await _settled(path, now)
            if seen is None:
                say(f"{path} is gone; what it said stays in use.")
                continue
            try:
                changes = await pool.reconfigure(read(path, environ))
            except StoaError as error:
                said = str(error).removeprefix(f"{path}: ")
                say(f"{path} is refused, what it said before stays in use: {said}")
                continue
            if (told := _tell(changes)) or is_asked:
                say(f"{path} is read again: {told or 'nothing has changed'}.")


async def _wait(asked: MemoryObjectReceiveStream[None], seconds: float) -> bool:
    """Whether SIGHUP came in that time."""
    with anyio.move_on_after(seconds):
        await asked.receive()
        return True
    return False


async def _settled(path: Path, now: _Print | None) -> _Print | None:
    """The state of the file when it has come to rest, or after a while."""
    for _ in range(MAX_SETTLES):
        await anyio.sleep(SETTLE_SECONDS)
        before, now = now, _print(path)
        if now == before:
            break
    return now


def _print(path: Path) -> _Print | None:
    """None where there is no file. Follows links, so that a link that is turned elsewhere is seen, too."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _tell(changes: Changed) -> str:
    """The changes in words; empty when there are none."""
    parts = (("added", changes.added), ("changed", changes.changed), ("removed", changes.removed))
    return "; ".join(f"{what} {', '.join(names)}" for what, found in parts if (names := list(found)))


@asynccontextmanager
async def _asked() -> AsyncGenerator[MemoryObjectReceiveStream[None]]:
    """SIGHUPs while the block runs. Not heard where there are none, or where whoever started us ignores them."""
    send, receive = anyio.create_memory_object_stream[None](1)
    with send, receive:
        before = signal.getsignal(_HANGUP) if _HANGUP is not None else None
        is_main = threading.current_thread() is threading.main_thread()
        if _HANGUP is None or before in (signal.SIG_IGN, None) or not is_main:
            yield receive
            return
        hangup, terminals = _HANGUP, [number for number in (0, 1, 2) if _is_terminal(number)]

        async def hear(*, task_status: TaskStatus[None]) -> None:
            with anyio.open_signal_receiver(hangup) as signals:
                task_status.started()
                async for _ in signals:
                    if not all(map(_is_terminal, terminals)):
                        break
                    with suppress(anyio.WouldBlock):  # asked for already
                        send.send_nowait(None)
            _end(before)

        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(hear)
                try:
                    yield receive
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            signal.signal(_HANGUP, before)


def _is_terminal(number: int) -> bool:
    """Whether this is a terminal that is still there: of one that has closed, the system says it is none."""
    try:
        return os.isatty(number)
    except OSError:
        return False


def _end(before: Handler) -> None:
    """What a SIGHUP did before we listened."""
    assert _HANGUP is not None
    signal.signal(_HANGUP, before)
    signal.raise_signal(_HANGUP)
