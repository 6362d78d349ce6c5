"""How a child learns that we have died, also by `kill -9`: by the kernel, by a pipe, or by the end of its stdin."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

__all__ = ["WATCH", "Lifeline", "Watch"]

Watch = Literal["kernel", "pipe", "stdin"]
WATCH: Final[Watch] = "kernel" if sys.platform == "linux" else "stdin" if sys.platform == "win32" else "pipe"
"""What this system has. A pipe would do on Linux, too; the kernel also reaches a command whose launcher was killed."""

LAUNCHER: Final = Path(__file__).with_name("launch.py")


class Lifeline:
    """Of one child. Entered around its start; what must stay open afterwards does so until `cut`, or until we end."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._theirs, self._ours = os.pipe() if watch == "pipe" else (None, None)

    def __repr__(self) -> str:
        return f"<Lifeline {self._watch}{'' if self._ours is None else ', held'}>"

    @property
    def pass_fds(self) -> Sequence[int]:
        return () if self._theirs is None else (self._theirs,)

    def above(self, command: Sequence[str]) -> list[str]:
        """The command, below a launcher that watches."""
        if self._watch == "stdin":
            return list(command)
        parent = str(os.getpid()) if self._theirs is None else f"pipe:{self._theirs}"
        return [sys.executable, "-I", "-S", str(LAUNCHER), parent, *command]

    def cut(self) -> None:
        """Let go: whoever watches kills what is left."""
        if self._ours is not None:
            os.close(self._ours)
            self._ours = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._theirs is not None:
            os.close(self._theirs)
        if error is not None:
            self.cut()
