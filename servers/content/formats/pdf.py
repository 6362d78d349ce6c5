"""PDF, the one door to pypdfium2: the text of each page under a heading with its number.

PDFium knows no threads, so one lock stands before it. It mends broken files by itself, which is why a file without its
end is looked for here.
"""

import re
import threading
import time
from collections.abc import Iterator
from typing import Protocol, cast

import pypdfium2  # pyright: ignore[reportMissingTypeStubs] - it has hints but no marker file; `_Document` is what we use
import pypdfium2.raw as pdfium_c  # pyright: ignore[reportMissingTypeStubs] - generated bindings, two constants of them

from servers.content.formats.draft import Draft, check_length
from servers.content.formats.limits import MAX_PDF_CPU_SECONDS, MAX_PDF_PAGES
from stoa.errors import BadInput

__all__ = ["read"]

_lock = threading.Lock()
_NO_TITLE = re.compile(
    r"\s*(?:untitled.*|\(?anonymous\)?|unspecified|title|.*\.(?:docx?|indd|tex|dvi|qxd|pptx?))?\s*", re.IGNORECASE
)


class _TextPage(Protocol):
    def get_text_bounded(self) -> str: ...
    def count_chars(self) -> int: ...
    def close(self) -> None: ...


class _Page(Protocol):
    def get_textpage(self) -> _TextPage: ...
    def close(self) -> None: ...


class _Bookmark(Protocol):
    def get_title(self) -> str: ...


class _Document(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> _Page: ...
    def get_metadata_value(self, key: str) -> str: ...
    def get_toc(self, max_depth: int) -> Iterator[_Bookmark]: ...
    def close(self) -> None: ...


def read(data: bytes) -> Draft:
    if b"%%EOF" not in data[-2048:]:
        raise BadInput("The PDF is cut off: its end (%%EOF) is missing.", hint="Transfer the whole file again.")
    with _lock:
        document = _open(data)
        try:
            title = _title(document)
            pages = _texts(document)
        finally:
            document.close()
    if not any(page.strip() for page in pages):
        raise BadInput(
            f"The PDF holds no text on its {len(pages)} page(s); it is probably scanned.",
            hint="Run OCR first (for example `ocrmypdf in.pdf out.pdf`), then send the result.",
        )
    if len(pages) == 1:
        return Draft(title, pages[0])
    return Draft(title, "\n\n".join(f"## Page {number}\n\n{page}" for number, page in enumerate(pages, 1) if page))


def _open(data: bytes) -> _Document:
    try:
        document = cast("_Document", pypdfium2.PdfDocument(data))
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY):
            raise BadInput(
                "The PDF is encrypted: it opens only with a password.",
                hint="Save it without password (for example `qpdf --decrypt --password=… in.pdf out.pdf`).",
            ) from error
        raise BadInput(
            "The PDF is damaged and cannot be opened.", hint="Transfer or export the whole file again."
        ) from error
    if len(document) > MAX_PDF_PAGES:
        pages = len(document)
        document.close()
        raise BadInput(f"The PDF has {pages:,} pages; the limit is {MAX_PDF_PAGES:,}.", hint="Split it.")
    return document


def _texts(document: _Document) -> list[str]:
    start = time.thread_time()
    texts: list[str] = []
    length = 0
    for index in range(len(document)):
        if time.thread_time() - start > MAX_PDF_CPU_SECONDS:
            raise BadInput(
                f"The PDF takes too long to read: {MAX_PDF_CPU_SECONDS:.0f} s of CPU for {index} pages.",
                hint="Split it, or send its text.",
            )
        text = _page_text(document, index)
        length += len(text)
        check_length(length)
        texts.append(text)
    return texts


def _page_text(document: _Document, index: int) -> str:
    try:
        page = document[index]
    except pypdfium2.PdfiumError as error:
        raise BadInput(
            f"The PDF is damaged: page {index + 1} cannot be read.", hint="Transfer or export the whole file again."
        ) from error
    try:
        text_page = page.get_textpage()
        try:
            check_length(text_page.count_chars())
            return _clean(text_page.get_text_bounded())
        finally:
            text_page.close()
    except pypdfium2.PdfiumError as error:
        raise BadInput(
            f"The PDF is damaged: the text of page {index + 1} cannot be read.",
            hint="Transfer or export the whole file again.",
        ) from error
    finally:
        page.close()


def _clean(text: str) -> str:
    """Words broken at line ends joined (PDFium marks them), no control characters, no trailing blanks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"[\ufffe\x02\u00ad]\n?", "", text)
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\uffff]", "", text)
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _title(document: _Document) -> str | None:
    """From the metadata, else the first entry of the outline."""
    title = document.get_metadata_value("Title")
    if not _NO_TITLE.fullmatch(title):
        return title
    bookmark = next(document.get_toc(max_depth=1), None)
    return bookmark.get_title() if bookmark is not None else None
