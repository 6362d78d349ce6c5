"""A socket for processes of one person alone: in a folder of mode 0700, removed at the end.

Those of processes that were killed are removed by whoever comes next. Where there are no unix sockets it is a loopback
port."""

import os
import secrets
import socket
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = ["listening"]

MAX_PATH_BYTES: Final = 103
"""What fits into the address of a unix socket: 107 bytes on Linux, 103 on macOS."""
NAMES: Final = 20
"""That are tried before it is given up."""
BACKLOG: Final = 128
SOCKET: Final = ".sock"
LOCK: Final = ".lock"


@contextmanager
def listening(home: Path) -> Generator[tuple[socket.socket, str]]:
    """A socket that listens, and its address as STOA_UPSTREAM has it.

    It lies in `run` of the home; in the temporary folder where the home cannot be used or its path is too long.
    """
    found = _in_one_of(home / "run", Path(tempfile.gettempdir()))
    if found is None:
        # The protocol is named, or asyncio does not set TCP_NODELAY and every answer waits.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(BACKLOG)
            yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        return
    listener, path, lock = found
    try:
        with listener:
            yield listener, f"unix:{path}"
    finally:
        _remove(path)
        os.close(lock)


def _in_one_of(run: Path, temporary: Path) -> tuple[socket.socket, Path, int] | None:
    if sys.platform == "win32":
        return None
    for folder in (run, temporary / f"stoa-{os.getuid()}"):
        with suppress(OSError):
            _make_private(folder)
            _sweep(folder)
            return _bind_in(folder)
    return None


def _make_private(folder: Path) -> None:
    """Raises `OSError` where somebody else has the folder, or could."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not ours")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _bind_in(folder: Path) -> tuple[socket.socket, Path, int]:
    path, lock = _new_name(folder)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        _remove(path)
        os.close(lock)
        raise
    return listener, path, lock


def _new_name(folder: Path) -> tuple[Path, int]:
    """A name of our own and its lock. Another who sweeps at this very moment may take a lock for one that was left, and
    remove it: then there are more names."""
    for _ in range(NAMES):
        path = folder.absolute() / f"{secrets.token_hex(4)}{SOCKET}"
        if len(os.fsencode(path)) > MAX_PATH_BYTES:
            raise OSError("the path is too long for a socket")
        lock = _take_lock(path.with_suffix(LOCK))
        if lock is not None:
            return path, lock
    raise FileExistsError(folder)


def _sweep(folder: Path) -> None:
    """Remove what processes that are no more have left: the kernel has let go of their locks."""
    for each in folder.glob(f"*{LOCK}"):
        lock = _take_lock(each)
        if lock is not None:
            _remove(each.with_suffix(SOCKET))
            os.close(lock)


def _take_lock(path: Path) -> int | None:
    """The lock file, open and locked for as long as it is open, or none while a process that lives has it."""
    import fcntl  # there is none on Windows

    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:  # whatever it is, it is no lock of ours
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), path.lstat()):  # else it was swept between the two calls
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _remove(path: Path) -> None:
    """The socket, and then its lock: a socket without one would stay for ever."""
    for each in (path, path.with_suffix(LOCK)):
        each.unlink(missing_ok=True)
