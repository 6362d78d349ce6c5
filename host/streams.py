"""The process's own stdout and stderr, where they are closed, full or no longer read. Light: every command loads it."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Unwritable", "give_up_stdout", "has_streams", "writing"]


class Unwritable(Exception):
    """Stdout takes no more, as on a full disk: whoever catches this can only say so on stderr."""


@contextmanager
def writing() -> Generator[None]:
    """Around every write to stdout. Raises `Unwritable`."""
    try:
        yield
    except BrokenPipeError:  # no mistake: the reader had enough
        raise
    except OSError as error:
        raise Unwritable(error.strerror or str(error)) from error


def has_streams() -> bool:
    """Whether there is a stdout: without one, the first file that is opened would take its place."""
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]  # Python's own way of saying that it is closed
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]  # as above
        return True
    sys.stderr.write("error: Standard output is closed. Redirect it to a file or to /dev/null.\n")
    return False


def give_up_stdout() -> None:
    """What is still buffered must not be tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
