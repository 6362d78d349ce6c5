"""Ranking texts against a question: BM25 over stemmed words. Pure.

Formula: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with the idf that
cannot turn negative (the `+ 1` inside the logarithm, as Lucene has it).
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Protocol, cast

from pydantic import JsonValue

from host.schema import properties

__all__ = ["QUESTION_WORDS", "STOP_WORDS", "Index", "terms", "tool_text", "words"]

_ASKING = """how what which who whom whose when where why is are was were can could does do did should would will may
has have had"""
_SMALL = """a about all also am an and any as at be been being but by for from get give i if in into it its let like me
might mine my need no not of off on one or our out please shall so some such than that the their them then there these
they this those through to too up upon us use used using via want we with without you your"""
QUESTION_WORDS = frozenset(_ASKING.split())
STOP_WORDS = QUESTION_WORDS | frozenset(_SMALL.split())

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")

K1 = 1.2
B = 0.75


def words(text: str) -> list[str]:
    """Lower-case words; `camelCase` and `snake_case` come apart."""
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text))]


def terms(text: str) -> list[str]:
    """The content words of a text, stemmed, in order and with repeats."""
    return [_stem(word) for word in words(text) if word not in STOP_WORDS]


def tool_text(name: str, description: str, input_schema: Mapping[str, JsonValue]) -> str:
    """What a tool is found by. The name counts twice: it is the shortest true description."""
    parameters = (f"{key} {value.get('description') or ''}" for key, value in properties(input_schema).items())
    return "\n".join((name, name, description, *parameters))


class Index:
    """A fixed set of texts to be ranked."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(terms(text)) for text in texts]
        self._lengths = [counts.total() for counts in self._counts]
        self._average = sum(self._lengths) / len(texts) if texts else 0.0
        seen = Counter(term for counts in self._counts for term in counts)
        size = len(texts)
        self._idf = {term: math.log(1 + (size - n + 0.5) / (n + 0.5)) for term, n in seen.items()}

    def __repr__(self) -> str:
        return f"<Index {len(self._counts)} texts, {len(self._idf)} terms>"

    def scores(self, question: str) -> list[float]:
        """One score for each text, in their order; 0 where no content word is shared."""
        wanted = dict.fromkeys(terms(question))
        return [self._score(wanted, counts, length) for counts, length in zip(self._counts, self._lengths, strict=True)]

    def ranked(self, question: str) -> list[tuple[int, float]]:
        """Positions and scores, best first, of the texts that share a word; equals stay in their order."""
        scored = [(position, score) for position, score in enumerate(self.scores(question)) if score > 0]
        return sorted(scored, key=lambda pair: -pair[1])

    def _score(self, wanted: Mapping[str, None], counts: Counter[str], length: int) -> float:
        # An index of empty texts has an average of 0, and then no term occurs either.
        norm = K1 * (1 - B + B * length / (self._average or 1.0))
        return sum(self._idf[term] * counts[term] * (K1 + 1) / (counts[term] + norm) for term in wanted if counts[term])


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


@cache
def _stemmer() -> _Stemmer:
    # Not at the top: it brings the tables of 30 languages (0.1 s), and most commands rank nothing.
    import snowballstemmer  # pyright: ignore[reportMissingTypeStubs]  # it has none

    return cast("_Stemmer", snowballstemmer.stemmer("english"))  # pyright: ignore[reportUnknownMemberType]  # as above


@cache
def _stem(word: str) -> str:
    return _stemmer().stemWord(word)
