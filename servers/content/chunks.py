"""Cutting Markdown into passages: along headings, then paragraphs; code blocks and tables stay whole when they can.

A chunk is a slice of the text, `markdown[start:end]`; chunks do not overlap, and every character that is not white
space lies in exactly one. The headings above a chunk travel with it as context. One scan for block boundaries by
regular expression keeps this linear whatever the input; inline markup does not matter here.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from servers.content.formats.front_matter import front_matter_end

__all__ = ["Chunk", "split"]

TARGET_CHARACTERS = 1_000
MAX_WHOLE_CHARACTERS = 1_600
"""A single code block, table or paragraph up to this long is not cut."""
MIN_CHARACTERS = 200
"""A chunk shorter than this takes the subsection that follows with it."""
MAX_HEADING_CHARACTERS = 300
MAX_BOUNDARIES = 300_000
"""Behind so many the rest is cut by length alone; a book has a few thousand."""


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


def split(markdown: str) -> list[Chunk]:
    """The chunks of a text, in order. Linear in its length."""
    return list(_grouped(markdown, _blocks(markdown)))


# What belongs together

_BOUNDARY = re.compile(
    r"""^(?:
        (?P<blank>[^\S\n]*\n)
      | [ \t>]*+(?P<fence>`{3,}+(?=[^`\n]*$)|~{3,}+)
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
    for _ in range(MAX_BOUNDARIES):
        mark = _BOUNDARY.search(text, position)
        if mark is None:
            break
        position = _line_end(text, mark.start())
        if mark["underline"] is not None:
            if _is_title(text, start, mark.start()):
                yield _Block(start, position, 1 if mark["underline"][0] == "=" else 2)
                start = position
            continue
        yield from _paragraph(text, start, mark.start())
        start = mark.start()
        if mark["fence"] is not None:
            position = _fence_end(text, position, mark["fence"])
            yield _Block(start, position)
        elif mark["hashes"] is not None:
            yield _Block(start, position, len(mark["hashes"]))
        start = position
    yield from _paragraph(text, start, len(text))


def _paragraph(text: str, start: int, end: int) -> Iterator[_Block]:
    if _NOT_SPACE.search(text, start, end):
        yield _Block(start, end)


def _is_title(text: str, start: int, end: int) -> bool:
    """Whether the lines above an underline are a heading: one or two, and not a list, a quote, a table or markup."""
    above = text[start:end].strip() if end - start <= MAX_HEADING_CHARACTERS else ""
    return bool(above) and above.count("\n") < 2 and above[0] not in "-*+>|<=#"


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _fence_end(text: str, position: int, fence: str) -> int:
    """Behind the closing fence, or the end of the text when the block is never closed, as CommonMark has it."""
    closing = re.compile(rf"^[ \t>]*+{fence[0]}{{{len(fence)},}}+[ \t]*$", re.MULTILINE).search(text, position)
    return len(text) if closing is None else _line_end(text, closing.end())


_NOT_SPACE = re.compile(r"\S")
_UNDERLINE = re.compile(r"\n[ ]{0,3}(?:=+|-+)[ \t]*\n?\Z")
_MARKUP = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()]{0,500}\)|<[^<>]{0,300}>|(?<!\w)[*_`]+|[*_`]+(?!\w)")


def _words(heading: str) -> str:
    """A heading without markup, on one line."""
    title = _UNDERLINE.sub("", heading[: 2 * MAX_HEADING_CHARACTERS].strip())
    if title.startswith("#"):
        title = title.strip("#")
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
        if not fits and end > start:
            yield from _cut(text, start, end, heading)
            start = end = block.start
        if is_heading:
            path = [above for above in path if above.level < block.level] + [block]
        if end == start:
            start, heading, has_body, last_level = block.start, _path(text, path), False, 0
        end = block.end
        if is_heading:
            last_level = block.level
        else:
            has_body = True
    if end > start:
        yield from _cut(text, start, end, heading)


def _path(text: str, path: list[_Block]) -> str:
    joined = " > ".join(filter(None, (_words(text[block.start : block.end]) for block in path)))
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
