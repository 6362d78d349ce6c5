"""The folder that holds every file we write, and the key in it. The one room of the ground that touches the disk."""

import os
import secrets
import stat
import threading
from pathlib import Path

from stoa.errors import BadInput
from stoa.settings import Settings

__all__ = ["FileId", "database_file", "open_home", "secret_key"]

KEY_BYTES = 32
MAX_KEY_BYTES = 4096

FileId = tuple[int, int]
"""Tells a file from any other of the same name: its device and its number there."""

_making = threading.Lock()
"""Of the process, as the locks are that it guards."""


def open_home(home: Path) -> Path:
    """Make the folder (mode 0700) where it is missing. Raises `BadInput` where that cannot be done."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"The folder {str(home)!r} for Stoa's files cannot be made: {error.strerror}.",
            hint="Set STOA_HOME to a folder that you may write.",
        ) from error
    return home


def database_file(path: Path) -> FileId:
    """Make the file of an SQLite database (mode 0600) where it is missing. Raises `BadInput` for what is none.

    A file that is there is never opened here: a process that closes any descriptor of a file loses all locks that it
    has on it (POSIX), those of its open databases too. The next process to close the database would then take itself
    for the last one and remove the write-ahead log that is still written to.
    """
    try:
        with _making:
            try:
                found = path.stat()
            except FileNotFoundError:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o600)
                found = os.fstat(descriptor)
                os.close(descriptor)
    except OSError as error:
        raise BadInput(
            f"The database {str(path)!r} cannot be opened: {error.strerror}.",
            hint="Make it readable and writable for you, or set STOA_HOME to another folder.",
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(
            f"The database {str(path)!r} is no regular file.",
            hint="Move it away, or set STOA_HOME to another folder; then start again.",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise BadInput(
            f"The database {str(path)!r} cannot be opened: you may not both read and write it.",
            hint="Make it readable and writable for you, or set STOA_HOME to another folder.",
        )
    return found.st_dev, found.st_ino


def secret_key(settings: Settings) -> bytes:
    """The key for cursors and sealed state, the same for all replicas: from the settings, else from one 0600 file.

    Several processes may ask at once; the first to link its file wins and the others read that one.
    """
    if settings.secret_key is not None:
        key = settings.secret_key.get_secret_value().encode()
        if len(key) < KEY_BYTES:
            raise BadInput(f"STOA_SECRET_KEY has {len(key)} bytes; it needs {KEY_BYTES} or more.")
        return key
    path = open_home(settings.home) / "secret.key"
    try:
        if not path.exists():
            _publish(path, secrets.token_bytes(KEY_BYTES))
        key = _read(path)
    except OSError as error:
        raise BadInput(
            f"The key file {str(path)!r} cannot be used: {error.strerror}.",
            hint="Set STOA_SECRET_KEY, or STOA_HOME to a folder that you may write.",
        ) from error
    if len(key) < KEY_BYTES:
        raise BadInput(
            f"The key file {str(path)!r} has {len(key)} bytes instead of {KEY_BYTES}.",
            hint="Put it back from a backup: data of subjects in the event log opens with the old key only. Where there"
            " is none, delete it; a new one is made, and old cursors no longer open.",
        )
    return key


def _read(path: Path) -> bytes:
    """The file, only if it is one: reading a pipe or a device might never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadInput(f"The key file {str(path)!r} is no regular file.", hint="Move it away; a new one is made.")
        return file.read(MAX_KEY_BYTES)


def _publish(path: Path, key: bytes) -> None:
    """Put a whole file in place or leave the one that is there: readers never see half a key."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(descriptor)  # else a power cut can leave a name without a key in it
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
