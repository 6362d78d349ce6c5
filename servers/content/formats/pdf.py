"""PDF: the text of each page under a heading with its number, read by a process of its own (`pdf_child`).

PDFium mends broken files by itself, which is why a file without its end is looked for here.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

from servers.content.formats.draft import Draft, check_length
from servers.content.formats.limits import (
    MAX_MARKDOWN_CHARACTERS,
    MAX_PDF_CPU_SECONDS,
    MAX_PDF_MEMORY_BYTES,
    MAX_PDF_PAGES,
    MAX_PDF_WAIT_SECONDS,
)
from stoa.errors import BadInput, Fault, Unavailable

__all__ = ["read"]

_CHILD = Path(__file__).with_name("pdf_child.py")
_LIMITS = (MAX_PDF_PAGES, MAX_MARKDOWN_CHARACTERS, MAX_PDF_CPU_SECONDS, MAX_PDF_MEMORY_BYTES)
_KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TEMP", "TMPDIR")  # the child needs none of our secrets
_NO_TITLE = re.compile(
    r"(?:untitled.*|\(?anonymous\)?|unspecified|title|.*\.(?:docx?|indd|tex|dvi|qxd|pptx?))?", re.IGNORECASE
)
_AGAIN = "Transfer or export the whole file again."


class _Answer(BaseModel):
    """What the child says, see there."""

    error: str = ""
    number: int = 0
    pages: list[str] = []
    title: str = ""
    outline: list[str] = []


def read(data: bytes) -> Draft:
    """Takes some tenths of a second for the process, whatever the size."""
    if b"%%EOF" not in data[-2048:]:
        raise BadInput("The PDF is cut off: its end (%%EOF) is missing.", hint="Transfer the whole file again.")
    answer = _ask(data)
    if answer.error:
        raise _refusal(answer)
    pages = [_clean(page) for page in answer.pages]
    check_length(sum(map(len, pages)))
    if not any(pages):
        raise BadInput(
            f"The PDF holds no text on its {len(pages)} page(s); it is probably scanned.",
            hint="Run OCR first (for example `ocrmypdf in.pdf out.pdf`), then send the result.",
        )
    if len(pages) == 1:
        return Draft(_title(answer), pages[0])
    parts = (f"## Page {number}\n\n{page}" for number, page in enumerate(pages, 1) if page)
    return Draft(_title(answer), "\n\n".join(parts))


def _ask(data: bytes) -> _Answer:
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)  # the same packages, none of the start-up hooks (-S)
    try:
        finished = subprocess.run(  # noqa: S603 - our own file, no shell
            [sys.executable, "-S", "-P", str(_CHILD), *map(str, _LIMITS)],
            input=data,
            capture_output=True,
            env=environment,
            timeout=MAX_PDF_WAIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"The PDF was not read within {MAX_PDF_WAIT_SECONDS} s.", hint="Try again when the machine is less busy."
        ) from error
    except OSError as error:
        raise Unavailable("No process can be started to read the PDF.", hint="Try again later.") from error
    if finished.returncode == 1:  # a traceback of Python: not the document's fault
        raise Fault("The PDF reader failed.") from RuntimeError(finished.stderr.decode(errors="replace")[-2000:])
    if finished.returncode != 0:
        raise _too_much()
    return _Answer.model_validate(json.loads(finished.stdout))


def _too_much() -> BadInput:
    return BadInput(
        f"The PDF cannot be read within {MAX_PDF_CPU_SECONDS} s of CPU and {MAX_PDF_MEMORY_BYTES >> 20} MiB of memory, "
        "or it makes the reader fail.",
        hint="Split it, print it to a new PDF, or send its text.",
    )


def _refusal(answer: _Answer) -> BadInput:
    match answer.error:
        case "encrypted":
            return BadInput(
                "The PDF is encrypted: it opens only with a password.",
                hint="Save it without password (for example `qpdf --decrypt --password=… in.pdf out.pdf`).",
            )
        case "pages":
            return BadInput(f"The PDF has {answer.number:,} pages; the limit is {MAX_PDF_PAGES:,}.", hint="Split it.")
        case "page":
            return BadInput(f"The PDF is damaged: page {answer.number} cannot be read.", hint=_AGAIN)
        case "memory":
            return _too_much()
        case "length":
            return BadInput(
                f"The PDF holds more than {MAX_MARKDOWN_CHARACTERS:,} characters of text.", hint="Split it."
            )
        case _:
            return BadInput("The PDF is damaged and cannot be opened.", hint=_AGAIN)


def _clean(text: str) -> str:
    """Words broken at line ends joined (PDFium marks them), no control characters, no trailing blanks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"[\ufffe\x02\u00ad]\n?", "", text)
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\uffff]", "", text)
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _title(answer: _Answer) -> str | None:
    """From the metadata, else the outline when that has one entry at the top, which then names the document."""
    title = answer.title[:1000].strip()
    if not _NO_TITLE.fullmatch(title):
        return title
    return answer.outline[0] if len(answer.outline) == 1 else None
