"""How results look to a person: tables, answers, checks. Plain lines where stdout is no terminal."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from host.answer import Answer, Step
from host.output import printable

if TYPE_CHECKING:  # showing needs no more than their names, and some of them are heavy
    from host.doctor import Check
    from host.ingest import Failed, Report

__all__ = [
    "addresses",
    "answer",
    "answered",
    "checks",
    "indented",
    "ingested",
    "result",
    "rule",
    "step",
    "table",
    "tools",
]

MOST_FAILURES_SHOWN = 20
LEAST_LAST_COLUMN = 24
LONGEST_HEADING = 200
"""Characters of a task that are repeated above its answer; the run's record has all of it."""
_MARKS = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("bad ", "bold red")}


def table(console: Console, heads: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Columns under bold heads; the last one may be long. Where they do not fit, each row is a block of lines. In a
    pipe, one line a row and no blanks at its end."""
    cells = [[cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows]
    if console.is_terminal and _is_too_wide(console, heads, cells):
        _stacked(console, heads, cells)
        return
    if console.is_terminal:
        grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=bool(heads))
        for number in range(len(cells[0]) if cells else len(heads)):
            grid.add_column(heads[number] if heads else "", overflow="fold")
        for row in cells:
            grid.add_row(*row)
        console.print(grid)
        return
    lines = [[head.upper() for head in heads]] if heads else []
    lines += [[" ".join(cell.plain.split()) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(Text("  ".join(padded).rstrip()), soft_wrap=True)


def _is_too_wide(console: Console, heads: Sequence[str], rows: Sequence[Sequence[Text]]) -> bool:
    """Whether the columns leave too little room for the words of the last one."""
    lines = [[Text(head) for head in heads], *rows] if heads else rows
    widths = [max(cell.cell_len for cell in column) + 2 for column in zip(*lines, strict=True)]
    return sum(widths[:-1]) + min(LEAST_LAST_COLUMN, widths[-1]) > console.width if widths else False


def _stacked(console: Console, heads: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    for row in rows:
        if not heads:
            console.print(Text("  ").join(row[:-1]))
            indented(console, row[-1], 2)
            continue
        console.print(Text.assemble((row[0].plain, "bold")))
        for head, cell in zip(heads[1:], row[1:], strict=True):
            if cell.plain:
                indented(console, Text(": ").join((Text(head), cell)) if head else cell, 2)


def tools(console: Console, found: Iterable[tuple[str, str, str, bool]]) -> None:
    """Name, arguments, first line of the description, read-only or not; one tool to a block."""
    for name, arguments, description, read_only in found:
        head = Text.assemble((name, "bold"), "  ", (printable(arguments), "cyan"))
        if console.is_terminal and head.cell_len > console.width:
            console.print(Text(name, style="bold"), soft_wrap=True)
            indented(console, Text(printable(arguments), style="cyan"), 4)
        else:
            console.print(head, soft_wrap=True)
        mark = "" if read_only else "(may change things) "
        indented(console, Text.assemble((mark, "yellow"), printable(description)), 4)


def answer(console: Console, given: Answer, again: str | None, *, is_told: bool = False) -> None:
    """`again` is the command that shows the run again; `is_told`: the text stands on the screen already."""
    answered(console, given, is_told=is_told)
    rule(console)
    console.print(Text(printable(given.note), style="yellow"), soft_wrap=True)
    for each in given.steps:
        console.print(step(each), soft_wrap=True)
    console.print(Text.assemble("run ", (given.run_id, "bold"), (f"  {again}" if again else "", "dim")), soft_wrap=True)


def answered(console: Console, given: Answer, *, is_told: bool = False) -> None:
    """The task, the text, its sources, and what is left to the person."""
    if not is_told:
        console.print(Text(_heading(printable(given.task)), style="bold"))
        console.print()
    for kind, lines in _pieces("" if is_told else printable(given.text)):
        if kind == "code":
            indented(console, Text(lines, style="cyan"), 6)
        else:
            indented(console, _with_marks(lines), 2)
        console.print()
    if given.citations:
        console.print(Text("Sources", style="bold"))
        for each in given.citations:
            where = f"characters {each.start} to {each.end}"
            source = f"{each.source}, " if each.source and each.source != each.title else ""
            line = Text.assemble(f"  [{each.number}] ", printable(each.title), (f"  {printable(source)}{where}", "dim"))
            console.print(line, soft_wrap=True)
        console.print()
    if given.proposals:
        console.print(Text("You may want to run", style="bold"))
        for proposal in given.proposals:
            console.print(Text(f"  {printable(proposal.command)}", style="cyan"), soft_wrap=True)
            missing = f" Still to be filled in: {', '.join(proposal.missing)}." if proposal.missing else ""
            console.print(Text(f"    {proposal.why}{missing}", style="dim"), soft_wrap=True)
        console.print()


def checks(console: Console, found: "Iterable[Check]") -> None:
    rows: list[Sequence[str | Text]] = []
    for check in found:
        mark, style = _MARKS[check.verdict]
        gap = "  " if console.is_terminal else " - "  # without colours, something has to stand between the two
        said = Text.assemble(printable(check.found), (f"{gap}{check.remedy}" if check.remedy else "", "dim"))
        rows.append((Text(mark, style=style), Text(check.what, style="bold"), said))
    table(console, (), rows)


def ingested(console: Console, report: "Report", *, interrupted: bool) -> None:
    """What became of the documents; failures by name."""
    became = Counter(each.status for each in report.done)
    passages = sum(each.chunks for each in report.done)
    parts = [f"{_count(became['created'], 'document')} ingested"]
    parts += [f"{became[status]} {status}" for status in ("replaced", "unchanged") if became[status]]
    parts.append(_count(passages, "passage"))
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    if report.left:
        parts.append(f"{report.left} left")
    console.print(Text(", ".join(parts) + "."), soft_wrap=True)
    for each in report.failed[:MOST_FAILURES_SHOWN]:
        console.print(_failure(each), soft_wrap=True)
    if len(report.failed) > MOST_FAILURES_SHOWN:
        console.print(Text(f"  … and {len(report.failed) - MOST_FAILURES_SHOWN} more; --json lists all."))
    if interrupted:
        console.print(Text("Interrupted. What is done stays; run the same command again for the rest."))


def addresses(console: Console, served: Iterable[tuple[str, str, str]]) -> None:
    """Name, HTTP and WebSocket address of what is served now."""
    for name, http, websocket in served:
        console.print(Text.assemble((name, "bold"), f"  {http}  {websocket}"), soft_wrap=True)
    console.print(Text("Ctrl-C ends it.", style="dim"))


def result(console: Console, structured: JsonValue, text: str) -> None:
    """A tool's result: the structured one as JSON, else its text."""
    if structured is not None and console.is_terminal:
        console.print_json(data=structured)
    elif structured is not None:
        console.print(Text(json.dumps(structured, ensure_ascii=False, indent=2)), soft_wrap=True)
    else:
        console.print(Text(printable(text)), soft_wrap=True)


def _heading(task: str) -> str:
    if len(task) <= LONGEST_HEADING:
        return task
    head, _, _ = task[: LONGEST_HEADING - 1].rpartition(" ")
    return f"{head or task[: LONGEST_HEADING - 2]} …"


def rule(console: Console) -> None:
    console.print(Rule(style="dim") if console.is_terminal else Text("---"))


def indented(console: Console, text: Text, by: int) -> None:
    """Folded under its indent on a terminal; in a pipe, as many lines as the text has."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, by)))
        return
    for line in text.plain.splitlines():
        console.print(Text(f"{' ' * by}{line}".rstrip()), soft_wrap=True)


def step(done: Step) -> Text:
    """A tool call in a line."""
    arguments = "  ".join(f"{name}={_short(value)}" for name, value in done.arguments.items())
    outcome = f"failed: {done.summary}" if done.is_error else done.summary
    return Text.assemble(
        "called ",
        (printable(str(done.ref)), "bold"),
        f" on {printable(done.replica)} in {done.latency_seconds * 1000:.0f} ms",
        (f"  {printable(arguments)}" if arguments else "", "dim"),
        (f"  {printable(outcome)}", "red" if done.is_error else "dim"),
    )


def _short(value: JsonValue | Mapping[str, JsonValue]) -> str:
    text = value if isinstance(value, str) else repr(value)
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"' if isinstance(value, str) else text


def _with_marks(paragraph: str) -> Text:
    text = Text(paragraph)
    text.highlight_regex(r"\[\d+\]", "bold green")
    return text


def _pieces(markdown: str) -> Iterator[tuple[str, str]]:
    """Paragraphs and code blocks in order; a code block stands by its place and colour, so its fences go."""
    for number, piece in enumerate(re.split(r"^(?:```|~~~).*$", markdown, flags=re.MULTILINE)):
        if number % 2:
            yield "code", piece.strip("\n")
        else:
            yield from (("text", part.strip("\n")) for part in piece.split("\n\n") if part.strip())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _failure(failed: "Failed") -> Text:
    said = failed.message if failed.label in failed.message else f"{failed.label}: {failed.message}"
    return Text.assemble("  ", (printable(said), "red"), (f" {printable(failed.hint)}" if failed.hint else "", "dim"))
