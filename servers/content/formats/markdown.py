"""Markdown: the text is kept as it is; markdown-it-py finds the title."""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from servers.content.formats.draft import Draft
from servers.content.formats.front_matter import front_matter_end, front_title
from servers.content.formats.limits import MAX_HEADING_SEARCH_CHARACTERS

__all__ = ["read"]

_HTML_HEADING = re.compile(r"<h1\b[^>]{0,500}>(.{1,2000}?)</h1>", re.DOTALL | re.IGNORECASE)
_HTML_TAG = re.compile(r"<[^<>]{0,1000}>")


def read(text: str) -> Draft:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = front_matter_end(text)
    return Draft(front_title(text) or _first_heading(text[start : start + MAX_HEADING_SEARCH_CHARACTERS]), text)


def _first_heading(text: str) -> str | None:
    """The text of the first top heading, Markdown or HTML; else of a lower one, when the text opens with it."""
    parser = MarkdownIt("commonmark", {"maxNesting": 8})
    parser.core.ruler.enableOnly(["normalize", "block"])  # inline markup of whole books is of no interest here
    opening: str | None = None
    tokens = parser.parse(text)
    for index, token in enumerate(tokens):
        if token.type == "heading_open" and (token.tag == "h1" or index == 0):
            title = _plain(tokens[index + 1].content)
            if token.tag == "h1" and title:
                return title
            opening = opening or title or None
        elif token.type == "html_block" and (heading := _HTML_HEADING.search(token.content)) is not None:
            title = " ".join(_HTML_TAG.sub(" ", heading.group(1)).split())
            if title:
                return title
    return opening


def _plain(inline: str) -> str:
    """The words of a heading without their markup."""
    tokens = MarkdownIt("commonmark", {"maxNesting": 8}).parseInline(inline[:1000])
    return " ".join("".join(_words(tokens)).split())


def _words(tokens: list[Token]) -> list[str]:
    words: list[str] = []
    for token in tokens:
        if token.type in ("text", "code_inline"):
            words.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            words.append(" ")
        elif token.children and token.type != "image":
            words.extend(_words(token.children))
    return words
