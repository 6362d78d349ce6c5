"""What a command writes, and where: one JSON document or readable text on stdout, everything else on stderr."""

import json
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO

from pydantic import JsonValue
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from host.escape import visible
from host.streams import writing
from stoa.errors import StoaError

__all__ = ["Bar", "Output", "printable"]

WIDE = 1000
"""Columns when nobody looks: a line that goes into a pipe or a file is never folded."""

_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that turn the direction of what follows, so that it reads like something else."""
_UNPRINTABLE = {code: None for code in (*range(32), *range(0x7F, 0xA0), *_TURNING) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text without control characters: what a server says must not steer the terminal."""
    return text.translate(_UNPRINTABLE)


@dataclass
class Bar:
    """Told as work goes on."""

    _progress: Progress

    def advance(self, now: str) -> None:
        for task in self._progress.task_ids:
            self._progress.update(task, advance=1, now=printable(now)[:40])

    def reach(self, done: int, of: int) -> None:
        """How far it is, where the work counts itself."""
        for task in self._progress.task_ids:
            self._progress.update(task, completed=done, total=of, now="", visible=True)


class Output:
    """The two streams of one command."""

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose

    @cached_property
    def _out(self) -> Console:
        return _console(sys.stdout)

    @cached_property
    def _err(self) -> Console:
        return _console(sys.stderr)

    def __repr__(self) -> str:
        return f"<Output {'JSON' if self.as_json else 'text'}>"

    def document(self, value: Mapping[str, JsonValue], show: Callable[[Console], object]) -> None:
        """The command's result, once: as JSON, or as `show` prints it."""
        if self.as_json:
            self.json(value)
        else:
            self.text(show)

    def text(self, show: Callable[[Console], object]) -> None:
        """A part of a result that comes bit by bit, for people."""
        with writing():
            show(self._out)
            sys.stdout.flush()

    @property
    def streams(self) -> bool:
        """Whether somebody sits in front of stdout and reads along."""
        return not self.as_json and self._out.is_terminal

    @property
    def is_watched(self) -> bool:
        """Whether somebody sits in front of stderr, where progress is told."""
        return self._err.is_terminal

    def piece(self, text: str) -> None:
        """A part of a text that is still coming."""
        with writing():
            sys.stdout.write(printable(text))
            sys.stdout.flush()

    def json(self, value: Mapping[str, JsonValue]) -> None:
        with writing():
            sys.stdout.write(visible(json.dumps(value, ensure_ascii=False, indent=2)) + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something beside the result: stderr, so that a pipe stays clean."""
        self._err.print(Text(printable(text), style="dim"), soft_wrap=True)

    def error(self, code: str, message: str, hint: str) -> None:
        """One short block: what and where, then the remedy."""
        if self.as_json:
            self.json({"error": {"code": code, "message": message, "hint": hint}})
            return
        self._err.print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)
        if hint:
            self._err.print(Text(printable("\n".join(f"  {line}" for line in hint.splitlines()))), soft_wrap=True)

    def failure(self, error: StoaError) -> None:
        self.error(error.code, error.message, error.hint)

    @contextmanager
    def bar(self, doing: str, total: int) -> Generator[Bar]:
        """A progress bar on stderr while the block runs; nothing where stderr is no terminal. Without a total, it is
        there from the first `reach` on."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[now]}", markup=True),
        )
        progress = Progress(*columns, console=self._err, disable=not self._err.is_terminal)
        with progress:
            progress.add_task(doing, total=total, now="starting", visible=total > 0)
            yield Bar(progress)

    @contextmanager
    def working(self, doing: str) -> Generator[None]:
        """A turning sign on stderr while the block runs; nothing where stderr is no terminal."""
        if not self._err.is_terminal or self.as_json:
            yield
            return
        with self._err.status(Text(doing)):
            yield


def _console(file: IO[str]) -> Console:
    is_terminal = file.isatty() and os.environ.get("TERM") != "dumb"
    return Console(
        file=file,
        width=None if is_terminal else WIDE,
        force_terminal=is_terminal,
        no_color=True if os.environ.get("NO_COLOR") else None,
        markup=False,
        emoji=False,
        highlight=False,
    )
