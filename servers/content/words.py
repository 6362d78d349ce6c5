"""Words of a text, where they stand, and what they are counted as: the same rules for questions and for documents.

The rules are those of the full-text index (FTS5, `porter unicode61`): letters and digits make words, case and accents
do not count, and each word is cut to its Porter stem. So a word that the index finds is a word that is highlighted.
"""

import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol, cast

import snowballstemmer  # pyright: ignore[reportMissingTypeStubs]  # it has none

__all__ = ["MAX_TERMS", "Term", "Word", "find_words", "read_question", "stem", "stems"]

MAX_TERMS: Final = 24
"""Most different words of a question that are looked for; a longer text is cut to its first ones."""

_WORD = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+")
_LONGEST_STEMMED: Final = 64
"""The index leaves words of more than so many bytes, and of fewer than three, as they are."""

# Words that carry the grammar of a question rather than its matter.
_GRAMMAR: Final = """
    a about after all also am an and any are as at be because been before being but by can could did do does doing
    done each either else ever few for from get gets getting give given go goes going got had has have having he her
    here hers him his how however i if in into is it its itself just let like make makes making many may me might
    mine more most much must my need needs neither no nor not of off often on once one only onto or other our ours
    out over own per please rather same shall she should show since so some something such take tell than that the
    their theirs them then there these they thing things this those through thus to too try under until up upon us
    use used uses using very via want wants was way ways we were what when where whether which while who whom whose
    why will with within without would yes yet you your yours
    d ll m re s t ve don doesn didn isn aren wasn weren won
"""
_STOP_WORDS: Final = frozenset(_GRAMMAR.split())

# Two rules that Porter added after the paper and that SQLite follows: -bly as -ble, -logy as -log.
_LATER_RULES = re.compile(r"(?P<root>[^aeiouy]*[aeiouy]+[^aeiouy].*?)(?:(?P<bly>bly)|log(?:y|ies))")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: its stem, and the characters `start` to `end` (exclusive) that it takes."""

    stem: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Term:
    """A word that is looked for: as it was written (folded), and its stem."""

    text: str
    stem: str


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


class _Stemmers(threading.local):
    """A stemmer keeps the word that it works on in itself, so each thread has its own."""

    def __init__(self) -> None:
        self.porter = cast(_Stemmer, snowballstemmer.stemmer("porter"))  # pyright: ignore[reportUnknownMemberType]


_stemmers = _Stemmers()


def find_words(text: str, *, offset: int = 0) -> Iterator[Word]:
    """All words in order; `offset` is added to their places."""
    for match in _WORD.finditer(text):
        yield Word(stem(match.group()), match.start() + offset, match.end() + offset)


def stems(text: str) -> list[str]:
    """The stems of all words in order, where their places do not matter."""
    return [stem(word) for word in _WORD.findall(text)]


def read_question(question: str) -> tuple[Term, ...]:
    """The words of a question that carry its matter, each stem once, in order; all words where none carries any."""
    every: dict[str, Term] = {}
    content: dict[str, Term] = {}
    for match in _WORD.finditer(question):
        text = _fold(match.group())
        term = Term(text, stem(text))
        every.setdefault(term.stem, term)
        if text not in _STOP_WORDS:
            content.setdefault(term.stem, term)
    return tuple((content or every).values())[:MAX_TERMS]


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """What a word is counted as."""
    folded = _fold(word)
    encoded = folded.encode()
    if not 3 <= len(encoded) <= _LONGEST_STEMMED:
        return folded
    later = _LATER_RULES.fullmatch(folded)
    if later is not None:
        folded = later["root"] + ("ble" if later["bly"] else "log")
    if len(encoded) == len(folded):
        return _stemmers.porter.stemWord(folded)
    # The index counts bytes: let the stemmer see each byte as a letter, too. Only ASCII endings are ever cut.
    return _stemmers.porter.stemWord(folded.encode().decode("latin-1")).encode("latin-1").decode()


def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    return unicodedata.normalize("NFC", "".join(_plain_letters(unicodedata.normalize("NFD", word))))


def _plain_letters(decomposed: str) -> Iterator[str]:
    """Lower case, and Latin letters without their accents; marks that make another letter elsewhere stay."""
    base = ""
    for letter in decomposed:
        if unicodedata.combining(letter):
            if not base.isascii():
                yield letter
            continue
        base = letter
        folded = letter.casefold()
        yield folded if len(folded) == 1 else letter.lower()
