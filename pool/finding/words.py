"""Words of names and sentences, and what they are counted as: the same rules for queries and for tools. Pure."""

import re
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol, cast

__all__ = ["QUESTION_WORDS", "STOP_WORDS", "query_terms", "stem", "stems", "terms", "words"]

_ASKING = """how what which who whom whose when where why is are was were can could does do did should would will may
has have had"""
_SMALL = """a about all also am an and any as at be been being but by for from get give i if in into it its let like me
might mine my need no not of off on one or our out please shall so some such than that the their them then there these
they this those through to too up upon us use used using via want we with without you your"""
QUESTION_WORDS = frozenset(_ASKING.split())
STOP_WORDS = QUESTION_WORDS | frozenset(_SMALL.split())
"""Words that carry the grammar of a sentence rather than its matter: pronouns, auxiliaries, prepositions, and such."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
# Scripts without spaces: a run of them is no word. Kana, Han, Hangul.
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+)")
_LONGEST = 64
"""Characters of a word that count. What is longer is a key or a blob, and no word of a language."""


def words(text: str) -> list[str]:
    """Lower-case words; `camelCase` and `snake_case` come apart."""
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text))]


def terms(text: str) -> list[str]:
    """The content words of a text, stemmed, in order and with repeats."""
    return [stem(part) for word in words(text) if word not in STOP_WORDS for part in _parts(word)]


def stems(text: str) -> list[str]:
    """All words of a text, stemmed: a tool may be called `get`."""
    return [stem(part) for word in words(text) for part in _parts(word)]


def query_terms(text: str) -> list[str]:
    """The content words of a query, or all of its words where none carries any content."""
    return terms(text) or stems(text)


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """What a word is counted as: its English stem (Snowball's Porter2)."""
    return _english().stemWord(word[:_LONGEST])


def _parts(word: str) -> Iterator[str]:
    """The word itself; runs of a script without spaces as pairs of letters, as Lucene's CJK analyser has them."""
    if word.isascii():
        yield word
        return
    for is_unspaced, part in enumerate(_UNSPACED.split(word)):
        if not is_unspaced % 2:
            if part:
                yield part
        elif len(part) == 1:
            yield part
        else:
            yield from (part[place : place + 2] for place in range(len(part) - 1))


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


_own = threading.local()
"""A stemmer keeps the word that it works on in itself, so each thread has its own."""


def _english() -> _Stemmer:
    made = cast("_Stemmer | None", getattr(_own, "english", None))
    if made is None:
        # Not at the top: it brings the tables of 30 languages (0.1 s), and most commands look for nothing.
        import snowballstemmer  # pyright: ignore[reportMissingTypeStubs]  # it has none

        made = cast("_Stemmer", snowballstemmer.stemmer("english"))  # pyright: ignore[reportUnknownMemberType]  # as above
        _own.english = made
    return made
