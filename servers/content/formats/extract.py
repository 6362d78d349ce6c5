"""The door of the format rooms: bytes in, media type, title and Markdown out.

Synchronous, bounded in time and size by `limits`, the same answer for the same bytes; call it from a worker thread.
Whatever is wrong with the document is a `BadInput` that names it and the remedy (`Unavailable` only when a PDF meets a
machine too busy to read it). The rooms are imported when first needed, so that a server starts without any parser.
"""

from dataclasses import dataclass

from servers.content.formats import sniff
from servers.content.formats.decode import decode
from servers.content.formats.draft import Draft, check_length, tidy_text, tidy_title
from servers.content.formats.limits import MAX_BYTES
from stoa.errors import BadInput

__all__ = ["MAX_BYTES", "Extracted", "extract"]


@dataclass(frozen=True)
class Extracted:
    """A document as Markdown. `media_type` is what it came as, `title` None when it has none of its own."""

    media_type: str
    title: str | None
    markdown: str


def extract(data: bytes, *, media_type: str | None, name: str | None) -> Extracted:
    """Read a document. `media_type` as given (may carry a charset) or None; `name` is a hint and names it in errors."""
    try:
        found, draft = _read(data, media_type, name)
        markdown = _checked(tidy_text(draft.markdown))
    except BadInput as error:
        label = tidy_title(name and name[-120:])
        if label is None:
            raise
        raise BadInput(f"{label}: {error.message}", hint=error.hint) from error
    return Extracted(found, tidy_title(draft.title), markdown)


def _read(data: bytes, media_type: str | None, name: str | None) -> tuple[str, Draft]:
    given, charset = sniff.parse_media_type(media_type)
    if not data:
        raise BadInput("The document is empty (0 bytes).", hint="Send a document with text in it.")
    if len(data) > MAX_BYTES:
        raise BadInput(
            f"The document has {len(data):,} bytes; the limit is {MAX_BYTES:,} ({MAX_BYTES >> 20} MiB).",
            hint="Split it into smaller documents, or send only its text.",
        )
    if not data.strip():
        raise BadInput("The document holds only white space.", hint="Send a document with text in it.")
    binary = sniff.binary_type(data)
    if binary is not None:
        if given not in (None, binary):
            raise sniff.wrong_media_type(given, binary)
        if binary != sniff.PDF:
            raise BadInput(
                f"The content is {binary}, which is not supported.",
                hint=f"Supported: {', '.join(sniff.SUPPORTED)}. Export the document as PDF, HTML or text.",
            )
        from servers.content.formats import pdf

        return binary, pdf.read(data)
    if given == sniff.PDF:
        raise sniff.wrong_media_type(given, "not a PDF (it does not begin with %PDF-)")
    text = decode(data, charset=charset, media_type=given)
    if not text.strip():
        raise BadInput("The document holds only white space.", hint="Send a document with text in it.")
    kind = sniff.text_type(text, given=given, name=name)
    return kind, _read_text(kind, text)


def _checked(markdown: str) -> str:
    if not markdown.strip():
        raise BadInput("The document holds no text.", hint="Send a document with text in it.")
    check_length(len(markdown))
    return markdown


def _read_text(kind: str, text: str) -> Draft:
    if kind == sniff.HTML:
        from servers.content.formats import html

        return html.read(text)
    if kind == sniff.MARKDOWN:
        from servers.content.formats import markdown

        return markdown.read(text)
    if kind == sniff.RST:
        from servers.content.formats import rst

        return rst.read(text)
    if kind == sniff.JSON:
        from servers.content.formats import json

        return json.read(text)
    if kind == sniff.XML:
        from servers.content.formats import xml

        return xml.read(text)
    from servers.content.formats import plain

    return plain.read(text)
