"""Choosing and cleaning the few sentences of a passage that answer best. Pure.

A passage is Markdown as a search found it, possibly cut at either end. An extract is a run of whole sentences of one
block, with the short code block that follows it when there is one; its offsets point into the passage as it was.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from host.rank import terms

__all__ = ["Extract", "best_extract", "clean"]

LONGEST = 360
"""Characters an extract may have before its code block."""
LONGEST_CODE = 500
ENOUGH = 120
"""An extract shorter than this takes the next sentence along: half a thought helps nobody."""
HEADING_SHARE = 0.5
"""What a question's word in the heading above counts, against one in the sentence itself."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
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
    (re.compile(r"``([^`]+)``"), r"`\1`"),
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
    kind: str  # "text" | "heading" | "code"


def best_extract(passage: str, weights: Mapping[str, float], *, with_code: bool = False) -> Extract | None:
    """The sentences that share most with the question, or None where the passage has no sentence at all.

    `weights` says what each stemmed word of the question is worth; `with_code` takes a short code block along.
    """
    blocks = list(_blocks(passage))
    best: tuple[float, list[tuple[int, int]], int, int] | None = None
    above: frozenset[str] = frozenset()
    for number, block in enumerate(blocks):
        if block.kind == "heading":
            above = _shared(passage[block.start : block.end], weights)
            continue
        if block.kind == "code":
            continue
        sentences = list(_sentences(passage, block))
        for position, (start, end) in enumerate(sentences):
            score = _score(passage[start:end], weights, above)
            # Of equals the first stays: documents say the important thing first.
            if best is None or score > best[0]:
                best = (score, sentences, position, number)
    if best is None:
        return None
    score, sentences, position, number = best
    start, end = _grow(passage, sentences, position, weights)
    text = clean(passage[start:end])
    if not text:
        return None
    after = blocks[number + 1] if number + 1 < len(blocks) else None
    if with_code and after is not None and after.kind == "code" and end == sentences[-1][1]:
        code = passage[after.start : after.end].strip("\n")
        if len(code) <= LONGEST_CODE and not passage[end : after.start].strip():
            text, end = f"{text}\n\n{code}", after.end
    return Extract(text, start, end, score)


def clean(markdown: str) -> str:
    """One paragraph of Markdown as a reader sees it: no badges, no link targets, no emphasis marks, one line."""
    for pattern, replacement in _CLEANERS:
        markdown = pattern.sub(replacement, markdown)
    return markdown.strip()


def _score(text: str, weights: Mapping[str, float], above: frozenset[str]) -> float:
    own = _shared(text, weights)
    return sum(weights[term] for term in own) + HEADING_SHARE * sum(weights[term] for term in above - own)


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
    opened: tuple[int, str] | None = None
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
        return _Block(start, end, "heading")
    return _Block(start, end, "heading" if _HEADING.match(text) else "text")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for line in text.splitlines(keepends=True):
        yield at, line.rstrip("\r\n")
        at += len(line)
