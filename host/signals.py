"""Being told to stop: Ctrl-C, SIGTERM and SIGHUP all end a command in the same way, quietly.

The two others are turned into Ctrl-C, for which the event loop, the pool and every command have a tidy end. Only light
modules are imported here, since this has to be in place before anything else is loaded.
"""

import os
import signal
from types import FrameType
from typing import Final

__all__ = ["INTERRUPTED", "Stopping"]

INTERRUPTED: Final = 130
_BASE: Final = 128
"""A shell reports the end by signal N as 128 + N; we do the same ourselves."""

_OTHERS: Final = tuple(number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None)


class Stopping:
    """State: which signal came, if one other than Ctrl-C did. What the parent ignores (nohup) stays ignored."""

    def __init__(self) -> None:
        self._came: int | None = None
        self._heard = [number for number in (signal.SIGINT, *_OTHERS) if signal.getsignal(number) != signal.SIG_IGN]

    def __repr__(self) -> str:
        return f"<Stopping {f'by signal {self._came}' if self._came else 'by nobody yet'}>"

    def at_once(self) -> None:
        """While nothing has begun: end where we stand. An exception could come out of any half-loaded module."""
        for number in self._heard:
            signal.signal(number, _leave)

    def tidily(self) -> None:
        """While a command runs: every signal is a Ctrl-C."""
        for number in self._heard:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else self._interrupt)

    def by_default(self) -> None:
        """When all is done: nobody is left to catch an exception."""
        for number in self._heard:
            signal.signal(number, signal.SIG_DFL)

    def code(self, code: int) -> int:
        """The exit code, with the signal that really came where the command was interrupted."""
        return _BASE + self._came if code == INTERRUPTED and self._came is not None else code

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        is_again, self._came = self._came == number, number
        if is_again and number != signal.SIGTERM:
            return  # a closing terminal sends SIGHUP twice: from the system and from the shell
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # to whoever listens now: Python, the event loop, a server


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(_BASE + number)
