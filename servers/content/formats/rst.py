"""reStructuredText: docutils parses, `rst_writer` writes Markdown. Nothing is inserted, included or passed through raw.

No transform of docutils runs: substitutions can be made to explode there, and the writer resolves links by itself.
"""

import re
import threading
import time
from types import SimpleNamespace
from typing import cast

from docutils import frontend, nodes
from docutils.parsers.rst import Parser, directives, roles, states
from docutils.parsers.rst.directives import tables
from docutils.utils import new_document

from servers.content.formats.draft import Draft
from servers.content.formats.limits import (
    MAX_RST_CHARACTERS,
    MAX_RST_COLUMNS,
    MAX_RST_CPU_SECONDS,
    MAX_RST_LINE_CHARACTERS,
    MAX_RST_PARAGRAPH_CHARACTERS,
)
from servers.content.formats.rst_writer import write
from stoa.errors import BadInput

__all__ = ["read"]

_lock = threading.Lock()  # docutils keeps the roles that a document defines in a table of the module
_NO_MESSAGES = 5
_TABLE_BORDER = re.compile(r"\s*(?:\+(?:[-=]+\+)+|=+(?: +=+)+)[ \t]*$")


def read(text: str) -> Draft:
    _check_size(text)
    with _lock:
        known_roles = dict(_roles())
        try:
            document = _parse(text)
            title, markdown = write(document)
        except RecursionError as error:
            raise BadInput(
                "The reStructuredText is nested too deeply.", hint="Flatten it, or send it as text/plain."
            ) from error
        finally:
            _roles().clear()
            _roles().update(known_roles)
    return Draft(title, markdown)


def _roles() -> dict[str, object]:
    """The roles that documents define by `.. role::`: cleared after each, or one document's would reach the next."""
    return cast("dict[str, object]", vars(roles)["_roles"])


def _check_size(text: str) -> None:
    if len(text) > MAX_RST_CHARACTERS:
        raise BadInput(
            f"The reStructuredText has {len(text):,} characters; the limit is {MAX_RST_CHARACTERS:,}.",
            hint="Split it, or send it as text/plain.",
        )
    for number, line in enumerate(text.splitlines(), 1):
        border = _TABLE_BORDER.match(line)
        if border is not None:
            _check_columns(border[0].count("+") - 1 if "+" in border[0] else len(border[0].split()))
        if len(line) > MAX_RST_LINE_CHARACTERS:
            raise BadInput(
                f"Line {number} of the reStructuredText has {len(line):,} characters; "
                f"the limit is {MAX_RST_LINE_CHARACTERS:,}.",
                hint="Wrap it, or send the document as text/plain.",
            )


def _check_columns(columns: int) -> None:
    if columns > MAX_RST_COLUMNS:
        raise BadInput(
            f"The reStructuredText has a table of {columns:,} columns; the limit is {MAX_RST_COLUMNS}.",
            hint="Split the table, or send the document as text/plain.",
        )


def _parse(text: str) -> nodes.document:
    budget = _Budget()
    parser = Parser(inliner=_inliner(budget))
    settings = frontend.get_default_settings(parser)
    settings.raw_enabled = False
    settings.file_insertion_enabled = False
    settings.report_level = _NO_MESSAGES
    settings.halt_level = _NO_MESSAGES
    settings.warning_stream = False
    settings.traceback = False
    settings.syntax_highlight = "none"
    settings.line_length_limit = MAX_RST_LINE_CHARACTERS
    document = new_document("document", settings)

    def note_source(source: str, offset: int | None) -> None:
        document.current_source = source
        document.current_line = offset if offset is None else offset + 1
        budget.count()

    directives.register_directive("csv-table", _CsvTable)
    document.note_source = note_source  # docutils calls it for each line: the one place where a parse can be stopped
    parser.parse(text, document)
    return document


class _CsvTable(tables.CSVTable):
    """docutils fills each row up to the longest: one long row among thousands of short ones would fill the memory."""

    def parse_csv_data_into_rows(self, csv_data: object, dialect: object, source: object) -> tuple[list[object], int]:
        parse = super().parse_csv_data_into_rows  # pyright: ignore - docutils gives it no types
        rows, columns = cast("tuple[list[object], int]", parse(csv_data, dialect, source))
        _check_columns(columns)
        return rows, columns


class _Budget:
    """CPU time of one parse; the clock is read every 256 steps, because reading it costs, too."""

    def __init__(self) -> None:
        self._start = time.thread_time()
        self._steps = 0

    def count(self, steps: int = 1) -> None:
        before = self._steps
        self._steps += steps
        if self._steps >> 8 != before >> 8 and time.thread_time() - self._start > MAX_RST_CPU_SECONDS:
            raise BadInput(
                f"The reStructuredText takes too long to read (more than {MAX_RST_CPU_SECONDS:.0f} s of CPU).",
                hint="Split it, or send it as text/plain.",
            )


def _inliner(budget: _Budget) -> states.Inliner:
    """Inline markup with a look at the budget; a paragraph too long or too full of addresses stays plain text.

    Not a subclass: docutils looks its patterns up in the very class of the object.
    """
    inliner = states.Inliner()
    parse_markup = inliner.parse

    def parse(
        text: str, lineno: int, memo: SimpleNamespace, parent: nodes.Element
    ) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        budget.count(1 + len(text) // 64)
        if len(text) > MAX_RST_PARAGRAPH_CHARACTERS:
            return [nodes.Text(text)], []
        try:
            return parse_markup(text, lineno, memo, parent)
        except RecursionError:  # one level for each address in a paragraph
            return [nodes.Text(text)], []

    inliner.parse = parse
    return inliner
