"""Opening the file of an export: a pipe might never end, and has no place to go back to."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Literal

__all__ = ["open_regular"]


def open_regular(file: Path, flags: int, mode: Literal["rb", "r+b"]) -> BinaryIO:
    """Raises `OSError`, also for what is no regular file. A new one is for its owner alone."""
    descriptor = os.open(file, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0), 0o600)
    found = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(found):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Is a directory" if stat.S_ISDIR(found) else "It is no regular file")
    return os.fdopen(descriptor, mode)
