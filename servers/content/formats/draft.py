"""What a format room hands back, and the last wash before it leaves the building."""

import re
from dataclasses import dataclass

from servers.content.formats.limits import MAX_MARKDOWN_CHARACTERS, MAX_TITLE_CHARACTERS
from stoa.errors import BadInput

__all__ = ["Draft", "check_length", "tidy_text", "tidy_title"]


@dataclass(frozen=True)
class Draft:
    """A document as one format room understood it: not yet washed, the title as found or None."""

    title: str | None
    markdown: str


def check_length(characters: int) -> None:
    """Refuse Markdown that has grown past the bound; rooms call it while they write, not only at the end."""
    if characters > MAX_MARKDOWN_CHARACTERS:
        raise BadInput(
            f"The document turns into more than {MAX_MARKDOWN_CHARACTERS:,} characters of Markdown.",
            hint="Split it into smaller documents.",
        )


def tidy_text(text: str) -> str:
    """Newlines as `\\n`, nothing that a database or UTF-8 cannot hold, no blank lines around."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates, from JSON escapes or PDF text
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    first = re.search(r"\S", text)  # not one pattern for all blank lines: it remembers each of millions
    return text[text.rfind("\n", 0, first.start()) + 1 :].rstrip() if first is not None else ""


def tidy_title(title: str | None) -> str | None:
    """One line without control characters, at most `MAX_TITLE_CHARACTERS` long; None when nothing is left."""
    if title is None:
        return None
    words = "".join(char if char.isprintable() else " " for char in tidy_text(title[:4000])).split()
    line = " ".join(words)
    if len(line) > MAX_TITLE_CHARACTERS:
        line = line[: MAX_TITLE_CHARACTERS - 1].rstrip() + "…"
    return line or None
