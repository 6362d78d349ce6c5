"""reStructuredText: docutils parses, `rst_writer` writes Markdown. Nothing is inserted, included or passed through raw.

No transform of docutils runs: substitutions can be made to explode there, and the writer resolves links by itself.
"""

import threading
import time
from typing import cast

from docutils import frontend, nodes
from docutils.parsers.rst import Parser, roles
from docutils.utils import new_document

from servers.content.formats.draft import Draft
from servers.content.formats.limits import MAX_RST_CHARACTERS, MAX_RST_CPU_SECONDS, MAX_RST_LINE_CHARACTERS
from servers.content.formats.rst_writer import write
from stoa.errors import BadInput

__all__ = ["read"]

_lock = threading.Lock()  # docutils keeps the roles that a document defines in a table of the module
_NO_MESSAGES = 5


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
        if len(line) > MAX_RST_LINE_CHARACTERS:
            raise BadInput(
                f"Line {number} of the reStructuredText has {len(line):,} characters; "
                f"the limit is {MAX_RST_LINE_CHARACTERS:,}.",
                hint="Wrap it, or send the document as text/plain.",
            )


def _parse(text: str) -> nodes.document:
    parser = Parser()
    settings = frontend.get_default_settings(parser)
    settings.raw_enabled = False
    settings.file_insertion_enabled = False
    settings.report_level = _NO_MESSAGES
    settings.halt_level = _NO_MESSAGES
    settings.warning_stream = False
    settings.traceback = False
    settings.syntax_highlight = "none"
    settings.line_length_limit = MAX_RST_LINE_CHARACTERS
    settings.smart_quotes = False
    settings.datestamp = None
    document = new_document("document", settings)
    start = time.thread_time()
    lines = 0

    def note_source(source: str, offset: int | None) -> None:
        """Called by docutils for each line: the one place where a parse can be stopped."""
        nonlocal lines
        lines += 1
        document.current_source = source
        document.current_line = offset if offset is None else offset + 1
        if lines % 256 == 0 and time.thread_time() - start > MAX_RST_CPU_SECONDS:
            raise BadInput(
                f"The reStructuredText takes too long to read (more than {MAX_RST_CPU_SECONDS:.0f} s of CPU).",
                hint="Split it, or send it as text/plain.",
            )

    document.note_source = note_source
    parser.parse(text, document)
    return document
