"""Cutting Markdown into passages: along headings, then paragraphs; code blocks and tables stay whole when they can.

A chunk is a slice of the text, `markdown[start:end]`; chunks do not overlap, and every character that is not white
space lies in exactly one. The headings above a chunk travel with it as context. One scan for block boundaries by
regular expression keeps this linear whatever the input; inline markup does not matter here.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from servers.content.formats.markdown import front_matter_end

__all__ = ["Chunk", "split"]

TARGET_CHARACTERS = 1_000
MAX_WHOLE_CHARACTERS = 1_600
"""A single code block, table or paragraph up to this long is not cut."""
MIN_CHARACTERS = 200
"""A chunk shorter than this takes the subsection that follows with it."""
MAX_HEADING_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage `markdown[start:end]`; `heading` is the path of headings above it, joined by " > ", or empty."""

    start: int
    end: int
    heading: str


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    end: int
    level: int = 0  # 1-6 for a heading, 0 for anything else
    title: str = ""


def split(markdown: str) -> list[Chunk]:
    return list(_grouped(markdown, _blocks(markdown)))


# What belongs together

_BOUNDARY = re.compile(
    r"""^(?:
        (?P<blank>[^\S\n]*\n)
      | [ \t>]*(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})
      | [ ]{0,3}(?P<hashes>\#{1,6})(?=[ \t]|$)
      | [ ]{0,3}(?P<underline>=+|-+)[ \t]*$
    )""",
    re.MULTILINE | re.VERBOSE,
)


def _blocks(text: str) -> Iterator[_Block]:
    """Headings, code blocks and runs of lines without a blank one between them, in order."""
    position = front_matter_end(text)
    if position:
        yield _Block(0, position)
    start = position  # of the paragraph that is being read
    while (mark := _BOUNDARY.search(text, position)) is not None:
        line_end = _line_end(text, mark.start())
        if mark["underline"] is not None:
            position = line_end
            title = text[start : mark.start()].strip()
            if title and title.count("\n") < 2 and not title.startswith(("-", "*", "+", ">", "|", "<")):
                level = 1 if mark["underline"][0] == "=" else 2
                yield _Block(start, line_end, level, _words(title))
                start = line_end
            continue
        yield from _paragraph(text, start, mark.start())
        if mark["fence"] is not None:
            start = position = _fence_end(text, line_end, mark["fence"])
            yield _Block(mark.start(), position)
        elif mark["hashes"] is not None:
            start = position = line_end
            yield _Block(mark.start(), line_end, len(mark["hashes"]), _words(text[mark.end() : line_end]))
        else:
            start = position = mark.end()
    yield from _paragraph(text, start, len(text))


def _paragraph(text: str, start: int, end: int) -> Iterator[_Block]:
    if text[start:end].strip():
        yield _Block(start, end)


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _fence_end(text: str, position: int, fence: str) -> int:
    """Behind the closing fence, or the end of the text when the block is never closed, as CommonMark has it."""
    closing = re.compile(rf"^[ \t>]*{re.escape(fence)}{re.escape(fence[0])}*[ \t]*$", re.MULTILINE).search(
        text, position
    )
    return len(text) if closing is None else _line_end(text, closing.end())


_MARKUP = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()]{0,500}\)|<[^<>]{0,300}>|(?<!\w)[*_`]+|[*_`]+(?!\w)")


def _words(title: str) -> str:
    """A heading without markup, on one line."""
    title = title[:1000].strip().rstrip("#") if title.strip("# \t\n") else ""
    return " ".join(_MARKUP.sub(r"\1", title).split())


# What fits together


def _grouped(text: str, blocks: Iterable[_Block]) -> Iterator[Chunk]:
    path: list[_Block] = []  # the headings above the next block
    start = end = 0  # of the chunk that is being filled, as found
    heading = ""
    last_level = 0  # of the last heading in it
    has_body = False
    for block in blocks:
        is_heading = block.level > 0
        if is_heading:
            fits = end - start < MIN_CHARACTERS and (not has_body or last_level < block.level)
        else:
            fits = not has_body or block.end - start <= TARGET_CHARACTERS
            fits = fits and block.end - start <= MAX_WHOLE_CHARACTERS
        if not fits and end > start:
            yield from _cut(text, start, end, heading)
            start = end = block.start
        if is_heading:
            path = [above for above in path if above.level < block.level] + [block]
        if end == start:
            start, heading, has_body, last_level = block.start, _path(path), False, 0
        end = block.end
        if is_heading:
            last_level = block.level
        else:
            has_body = True
    if end > start:
        yield from _cut(text, start, end, heading)


def _path(path: list[_Block]) -> str:
    joined = " > ".join(block.title for block in path if block.title)
    return joined if len(joined) <= MAX_HEADING_CHARACTERS else "… " + joined[2 - MAX_HEADING_CHARACTERS :]


_BREAKS = (re.compile(r"\n"), re.compile(r"(?<=[.!?])\s"), re.compile(r"\s"))


def _cut(text: str, start: int, end: int, heading: str) -> Iterator[Chunk]:
    """One chunk; several when a single block is too long for one: cut at a line, a sentence, a word, anywhere."""
    start, end = _stripped(text, start, end)
    while end - start > MAX_WHOLE_CHARACTERS:
        window = text[start : start + TARGET_CHARACTERS]
        cut = TARGET_CHARACTERS
        for pattern in _BREAKS:
            places = [place.end() for place in pattern.finditer(window, TARGET_CHARACTERS // 2)]
            if places:
                cut = places[-1]
                break
        yield Chunk(*_stripped(text, start, start + cut), heading)
        start, end = _stripped(text, start + cut, end)
    if end > start:
        yield Chunk(start, end, heading)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
