"""The process that reads one PDF: bytes on stdin, one JSON document on stdout. The one door to pypdfium2.

It runs alone because PDFium can be made to take any time and memory, and then aborts the process it lives in. It is
started by path (see `pdf`), imports nothing of ours, and knows only what its arguments say.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Protocol, cast

import pypdfium2  # pyright: ignore[reportMissingTypeStubs] - it has hints but no marker file; `_Document` is what we use
import pypdfium2.raw as pdfium_c  # pyright: ignore[reportMissingTypeStubs] - generated bindings, two constants of them

__all__ = ["main"]


class _TextPage(Protocol):
    def get_text_bounded(self) -> str: ...
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


def main(max_pages: int, max_characters: int, max_seconds: int, max_memory: int) -> None:
    _limit(max_seconds, max_memory)
    try:
        answer = _read(sys.stdin.buffer.read(), max_pages, max_characters)
    except MemoryError:
        answer = {"error": "memory"}
    json.dump(answer, sys.stdout)


def _limit(max_seconds: int, max_memory: int) -> None:
    """Where the system has no such limits, the parent's deadline is the only one."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (max_seconds, max_seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (max_memory, max_memory))


def _read(data: bytes, max_pages: int, max_characters: int) -> dict[str, object]:
    """`{"pages": [text, …], "title": …, "outline": […]}`, or `{"error": what}` with the page or the number of pages."""
    try:
        document = cast("_Document", pypdfium2.PdfDocument(data))
    except pypdfium2.PdfiumError as error:
        locked = getattr(error, "err_code", None) in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY)
        return {"error": "encrypted" if locked else "damaged"}
    count = len(document)
    if count > max_pages:
        return {"error": "pages", "number": count}
    pages: list[str] = []
    for index in range(count):
        try:
            page = document[index]
            text_page = page.get_textpage()
            pages.append(text_page.get_text_bounded())
            text_page.close()
            page.close()
        except pypdfium2.PdfiumError:
            return {"error": "page", "number": index + 1}
        max_characters -= len(pages[-1])
        if max_characters < 0:
            return {"error": "length"}
    outline = [bookmark.get_title() for bookmark in itertools.islice(document.get_toc(max_depth=1), 2)]
    return {"pages": pages, "title": document.get_metadata_value("Title"), "outline": outline}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
