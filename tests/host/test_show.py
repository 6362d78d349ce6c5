"""How results look in wide and narrow windows, and in a pipe."""

import io
import re

import pytest
from rich.console import Console

from host import show
from host.doctor import Check

HEADS = ("server", "replica", "state", "era", "version", "latency", "")
ROW = ("content", "content-0", "healthy", "modern", "1.2.3", "12.3 ms", "")
AWAY = ("far", "far-0", "stopped", "", "", "", "The command 'nowhere' cannot be found on this machine.")


def printed(width: int, *, is_terminal: bool = True) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, force_terminal=is_terminal, no_color=True, highlight=False), file


def shown(width: int, *rows: tuple[str, ...], heads: tuple[str, ...] = HEADS) -> str:
    console, file = printed(width)
    show.table(console, heads, rows)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_word_of_a_table_is_broken_however_narrow_the_window(width: int) -> None:
    out = shown(width, ROW, AWAY)
    assert all(word in out for cell in (*ROW, *AWAY) for word in cell.split())


def test_a_table_that_fits_has_a_line_for_each_row() -> None:
    assert len(shown(120, ROW, AWAY).splitlines()) == 3


def test_found_and_advice_of_a_check_are_told_apart_in_a_pipe() -> None:
    console, file = printed(1000, is_terminal=False)
    show.checks(console, [Check("X_KEY", "note", "not set", "for x"), Check("Python", "ok", "3.12")])
    assert file.getvalue().splitlines() == ["note  X_KEY   not set - for x", "ok    Python  3.12"]


def test_arguments_that_do_not_fit_beside_a_tools_name_stand_below_it() -> None:
    arguments = " ".join(f"[argument_{number}=string]" for number in range(6))
    console, file = printed(80)
    show.tools(console, [("content.ingest", arguments, "Stores a document.", False)])
    name, *folded, said = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()).splitlines()
    assert name == "content.ingest"
    assert " ".join(line.strip() for line in folded) == arguments
    assert all(line.startswith("    ") and len(line) <= 80 for line in folded)
    assert said.strip() == "(may change things) Stores a document."
