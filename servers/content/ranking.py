"""How well a document answers a question: a pure rule over the words of both, and the numbers in it.

A document is judged by its best passage, by how it opens (a text says first what it is about) and by its title:

    best passage   BM25 of its words x the share of the question that it holds, plus the pairs of words that stand close
    opening        BM25 of the first passage
    title          the weight of the question's words in it, less the longer the title is

A word weighs its inverse document frequency among the tenant's documents. The sum is divided by the most that the
question could get, so that `score` (0 to about 1) means the same for short and long questions and can be compared with
a threshold. BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), section 3.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["ENOUGH_SCORE", "ENOUGH_SCORE_OF_ONE_WORD", "Candidate", "Judgement", "Weights", "judge", "share", "weigh"]

SATURATION: Final = 1.2
"""BM25's k1: how soon another occurrence of a word stops adding."""

LENGTH_PULL: Final = 0.75
"""BM25's b: how much a long passage is held against it."""

PASSAGE_WORDS: Final = 130
"""A passage of usual length, in words. A constant, so that a score does not depend on who else is in the list."""

BEST_PASSAGE: Final = 1.0
OPENING: Final = 1.0
TITLE: Final = 1.0
PAIR: Final = 0.5
"""Weights of the parts; `PAIR` is for two neighbours, less with their distance."""

PAIR_DISTANCE: Final = 6
"""Words of the question that stand further apart than this are no pair."""

ENOUGH_SCORE: Final = 0.095
"""A hit below this shares a word or two with the question and does not answer it. Measured over the descriptions of 127
distributions: best hits of the tuned questions of tests/data/questions.json that have an answer score 0.10 and more,
those of questions that have none 0.06 and less (0.09 among 22 more such questions, but for two whose few words happen
to stand in one text: 0.12, 0.21). Coverage alone does not tell them apart: a short text that answers in words of its
own covers 0.3 of its question, a long one that only shares words 0.45."""

ENOUGH_SCORE_OF_ONE_WORD: Final = 2 * ENOUGH_SCORE
"""What it takes where passage and opening share a single word with a question of several, and the title none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a document: stems of its title and of passages that may answer, the opening one first, and
    which of the question's stems it holds anywhere."""

    title: Sequence[str]
    passages: Sequence[Sequence[str]]
    present: Set[str]


@dataclass(frozen=True, slots=True)
class Judgement:
    """`coverage` (0 to 1): the share of the question, by weight, that the document holds (half of it) and that its
    best passage holds (the other half). `passage` is the place of that passage among the candidate's. `is_evidence`
    tells an answer from a coincidence: see `ENOUGH_SCORE`."""

    score: float
    coverage: float
    passage: int
    is_evidence: bool


Weights = Mapping[str, float]
"""Stem of the question to its inverse document frequency."""


def weigh(holding: Mapping[str, int], documents: int) -> Weights:
    """The weight of each stem that `holding` of so many documents hold."""
    return {stem: math.log1p((documents - held + 0.5) / (held + 0.5)) for stem, held in holding.items()}


def judge(candidate: Candidate, weights: Weights) -> Judgement:
    total = sum(weights.values())
    if not total or not candidate.passages:
        return Judgement(0.0, 0.0, 0, False)
    best, best_held, place = 0.0, 0.0, 0
    for number, words in enumerate(candidate.passages):
        held = share(words, weights)
        value = _bm25(words, weights) * held + PAIR * _pairs(words, weights)
        if value > best:
            best, best_held, place = value, held, number
    opening = _bm25(candidate.passages[0], weights)
    title = _title(candidate.title, weights)
    most = total * ((SATURATION + 1) * (BEST_PASSAGE + OPENING) + TITLE)
    score = (BEST_PASSAGE * best + OPENING * opening + TITLE * title) / most
    shown = {word for words in (candidate.passages[0], candidate.passages[place]) for word in words} & weights.keys()
    is_shared = len(shown) >= min(2, len(weights)) or not weights.keys().isdisjoint(candidate.title)
    coverage = (share(candidate.present, weights) + best_held) / 2
    return Judgement(score, coverage, place, score >= (ENOUGH_SCORE if is_shared else ENOUGH_SCORE_OF_ONE_WORD))


def share(words: Sequence[str] | Set[str], weights: Weights) -> float:
    """The share of the question, by weight, that these words hold."""
    return sum(weights[stem] for stem in weights.keys() & set(words)) / sum(weights.values())


def _bm25(words: Sequence[str], weights: Weights) -> float:
    counts = Counter(word for word in words if word in weights)
    damping = SATURATION * (1 - LENGTH_PULL + LENGTH_PULL * len(words) / PASSAGE_WORDS)
    return sum(weights[stem] * count * (SATURATION + 1) / (count + damping) for stem, count in counts.items())


def _title(words: Sequence[str], weights: Weights) -> float:
    """Numbers name nothing: a version in a title does not make it longer."""
    named = {word for word in words if not word.isdigit()}
    return sum(weights[stem] for stem in weights.keys() & set(words)) / math.sqrt(len(named) or 1)


def _pairs(words: Sequence[str], weights: Weights) -> float:
    """For each two words of the question that follow each other closely: the lighter one's weight by their distance."""
    found: dict[frozenset[str], float] = {}
    places = [(place, word) for place, word in enumerate(words) if word in weights]
    for (here, one), (there, other) in pairwise(places):
        if one != other and there - here <= PAIR_DISTANCE:
            pair = frozenset((one, other))
            found[pair] = max(found.get(pair, 0.0), min(weights[one], weights[other]) / (there - here))
    return sum(found.values())
