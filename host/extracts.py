"""Choosing and cleaning the few sentences of a passage that answer best. Pure.

A passage is Markdown as a search found it, possibly cut at either end. An extract is a run of whole sentences of one
block, with the short code block that follows it when there is one; its offsets point into the passage as it was.
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pool.finding.words import terms

__all__ = ["Extract", "best_extract", "clean"]

LONGEST = 360
"""Characters an extract may have before its code block."""
LONGEST_CODE = 500
ENOUGH = 120
"""An extract shorter than this takes the next sentence along: half a thought helps nobody."""
HEADING_SHARE = 0.5
"""What a question's word in the heading above counts, against one in the sentence itself."""

HALF_SAID = 0.7
"""What counts of a sentence that begins or ends in the middle, or is a line of a changelog."""

LEAST_PROSE = 0.8
"""A block with fewer letters, blanks and stops than this share is code, whatever it looks like in Markdown."""

_WHOLE = re.compile(r"[\"'(`]*[A-Z0-9`].*[.!?:][\"')`]*$")
_CHANGELOG = re.compile(r"\bby @\w|\(?#\d{2,}\)?\W*$")
_FENCE = re.compile(r"^[ \t]*(`{3,}(?!.*`)|~{3,})")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s|^[^\n]+\n(=+|-+)\s*$")
_STARTS_BLOCK = re.compile(r"^ {0,3}(#{1,6}\s|[-*+]\s|\d+[.)]\s|>|\|)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]*_]*\s+(?=[\"'(\[*_`]*[A-Z0-9])")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s")
_RULE = re.compile(r"^[\s\-=_*|:+.#~]*$")

_CLEANERS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)"), ""),
    (re.compile(r"!\[[^\]]*\](\([^)]*\)|\[[^\]]*\])"), ""),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r"<(https?://[^>\s]+)>"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^<>]*>"), ""),
    (re.compile(r"^[ \t]*(#{1,6}|>|[-*+]|\d+[.)])[ \t]+", re.MULTILINE), ""),
    (re.compile(r"(?<!\w)(\*\*|__)(?=\S)(.+?)(?<=\S)\1(?!\w)", re.DOTALL), r"\2"),
    (re.compile(r"(?<![\w*\\])\*(?=\S)([^*]+?)(?<=[^\s\\])\*(?!\w)"), r"\1"),
    (re.compile(r"(?<![\w\\])_(?=\S)([^_]+?)(?<=[^\s\\])_(?!\w)"), r"\1"),
    (re.compile(r"`{2,}([^`]+)`{2,}"), r"`\1`"),
    (re.compile(r"\s*\|\s*"), " "),
    (re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~])"), r"\1"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class Extract:
    """`start` and `end` are character offsets into the passage; `score` is the weight of the words it shares."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    end: int
    kind: Literal["text", "heading", "code", "rule"]


def best_extract(passage: str, weights: Mapping[str, float], *, with_code: bool = False) -> Extract | None:
    """The sentences that share most with the question, or None where the passage has nothing to read.

    `weights` says what each stemmed word of the question is worth; `with_code` takes a short code block along. Where
    a passage is all code, or its code says clearly more, the code is the extract.
    """
    blocks = list(_blocks(passage))
    best: tuple[float, list[tuple[int, int]], int, int] | None = None
    above: frozenset[str] = frozenset()
    for number, block in enumerate(blocks):
        if block.kind == "heading":
            above = _shared(passage[block.start : block.end], weights)
        if block.kind != "text":
            continue
        sentences = list(_sentences(passage, block))
        for position, (start, end) in enumerate(sentences):
            score = _score(passage[start:end], weights, above)
            # Of equals the first stays: documents say the important thing first.
            if best is None or score > best[0]:
                best = (score, sentences, position, number)
    if best is None:
        return _code_alone(passage, blocks, weights)
    score, sentences, position, number = best
    code_alone = _code_alone(passage, blocks, weights) if with_code else None
    if code_alone is not None and code_alone.score * HALF_SAID > score:
        return code_alone
    start, end = _grow(passage, sentences, position, weights)
    text = clean(passage[start:end])
    after = blocks[number + 1] if number + 1 < len(blocks) else None
    if with_code and after is not None and end == sentences[-1][1] and (code := _code(passage, after)):
        text, end = f"{text}\n\n{code}", after.end
    return Extract(text, start, end, score)


def clean(markdown: str) -> str:
    """One paragraph of Markdown as a reader sees it: no badges, no link targets, no emphasis marks, one line."""
    for pattern, replacement in _CLEANERS:
        markdown = pattern.sub(replacement, markdown)
    return markdown.strip()


def _code(passage: str, block: _Block) -> str:
    """A code block as it is shown; empty when it is none or too long."""
    text = passage[block.start : block.end]
    if block.kind != "code" or len(textwrap.dedent(text).strip("\n")) > LONGEST_CODE:
        return ""
    return _fenced(text)[0]


def _code_alone(passage: str, blocks: Sequence[_Block], weights: Mapping[str, float]) -> Extract | None:
    """The piece of code that shares most, cut where it is too long."""
    found: Extract | None = None
    for block in blocks:
        text = passage[block.start : block.end]
        score = sum(weights[term] for term in frozenset(terms(text)) & weights.keys())
        if block.kind == "code" and (found is None or score > found.score):
            code, length = _fenced(text)
            if code:
                found = Extract(code, block.start, block.start + length, score)
    return found


def _fenced(text: str) -> tuple[str, int]:
    """A code block between fences and without the indent of its list, and how much of `text` it shows.

    What is too long is cut at the end of a line, and a fence that lies outside the passage is put there: whatever
    follows an extract is never taken for its code.
    """
    lines = text.splitlines(keepends=True)
    opens, closes = _FENCE.match(lines[0]), _FENCE.match(lines[-1])
    closes = None if opens and len(lines) == 1 else closes
    mark = opens or closes
    fence = mark.group(1) if mark else "```"
    body = lines[1 if opens else 0 : -1 if closes else None]
    room, kept = LONGEST_CODE, list[str]()
    for line in body:
        if kept and len(line) > room:
            break
        kept.append(line[:room])  # only a first line can be longer than the room
        room -= len(line)
    code = textwrap.dedent("".join(kept)).strip("\n")
    if not code.strip():
        return "", 0
    shown = len(lines[0] if opens else "") + len("".join(kept).rstrip())
    head = lines[0].strip() if opens else fence
    return f"{head}\n{code}\n{fence}", len(text) if kept == body else shown


def _score(text: str, weights: Mapping[str, float], above: frozenset[str]) -> float:
    own = _shared(text, weights)
    said = sum(weights[term] for term in own) + HEADING_SHARE * sum(weights[term] for term in above - own)
    read = clean(text)
    return said * (1.0 if _WHOLE.match(read) and not _CHANGELOG.search(read) else HALF_SAID)


def _shared(text: str, weights: Mapping[str, float]) -> frozenset[str]:
    return frozenset(terms(clean(text))) & weights.keys()


def _grow(
    passage: str, sentences: list[tuple[int, int]], position: int, weights: Mapping[str, float]
) -> tuple[int, int]:
    """Take neighbours along while they bring new words of the question, or while the extract is very short."""
    start, end = sentences[position]
    held = _shared(passage[start:end], weights)
    for near in sentences[position + 1 :]:
        adds = _shared(passage[near[0] : near[1]], weights) - held
        if near[1] - start > LONGEST or (not adds and end - start >= ENOUGH):
            break
        end, held = near[1], held | adds
    for near in reversed(sentences[:position]):
        adds = _shared(passage[near[0] : near[1]], weights) - held
        if end - near[0] > LONGEST or not adds:
            break
        start, held = near[0], held | adds
    return start, end


def _sentences(passage: str, block: _Block) -> Iterator[tuple[int, int]]:
    start = block.start
    text = passage[block.start : block.end]
    for match in _SENTENCE_END.finditer(text):
        end = block.start + match.start()
        yield from _readable(passage, start, end)
        start = block.start + match.end()
    yield from _readable(passage, start, block.end)


def _readable(passage: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without blank ends, unless nothing is left to read when images and marks are gone."""
    text = passage[start:end]
    start, end = start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip()))
    if start < end and len(clean(passage[start:end])) > 1:
        yield start, end


def _blocks(passage: str) -> Iterator[_Block]:
    """Paragraphs, list items, headings and fenced code, in order; rules and link definitions are left out."""
    lines = list(_lines(passage))
    fences = [match for _, line in lines if (match := _FENCE.match(line))]
    bare = [not match.string[match.end() :].strip() for match in fences]
    # The first fence closes a block that began before the passage when it names no language, and either is one too
    # many or the next one opens a block.
    began_before = bool(fences) and bare[0] and (len(fences) % 2 == 1 or not bare[1])
    opened = (0, fences[0].group(1)) if began_before else None
    start: int | None = None
    end = 0
    for at, line in lines:
        fence = _FENCE.match(line)
        if opened is not None:
            if fence and fence.group(1).startswith(opened[1]):
                yield _Block(opened[0], at + len(line), "code")
                opened = None
            continue
        breaks = not line.strip() or fence or _STARTS_BLOCK.match(line) or _REFERENCE.match(line)
        if breaks and start is not None:
            yield _block(passage, start, end)
            start = None
        if fence:
            opened = (at, fence.group(1))
        elif line.strip() and not _REFERENCE.match(line):
            start, end = (at if start is None else start), at + len(line)
            if line.lstrip().startswith("#"):
                yield _block(passage, start, end)
                start = None
    if start is not None:
        yield _block(passage, start, end)
    if opened is not None:  # cut in the middle: too long to show, and its end is not known
        yield _Block(opened[0], len(passage), "code")


def _block(passage: str, start: int, end: int) -> _Block:
    text = passage[start:end]
    if _RULE.match(text):
        return _Block(start, end, "rule")
    if _HEADING.match(text):
        return _Block(start, end, "heading")
    read = clean(text)
    prose = sum(char.isalpha() or char in " .,;:'" for char in read)
    return _Block(start, end, "code" if read.startswith(">>>") or prose < LEAST_PROSE * len(read) else "text")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for line in text.splitlines(keepends=True):
        yield at, line.rstrip("\r\n")
        at += len(line)
