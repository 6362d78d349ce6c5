"""Finding tools by what somebody wants to do: BM25F over names, descriptions and parameters. Pure.

Formula: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.6: words of
each field are counted against the usual length of that field, weighted, added up and only then saturated. The idf
cannot turn negative (the `+ 1` inside the logarithm, as Lucene has it). With an embedder, the order by words and the
order by meaning are fused by place (see `fusion`), as soon as all tools have a vector.
"""

import heapq
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from pool.finding.findable import Findable
from pool.finding.fusion import fused
from pool.finding.vectors import Matrix, Vector, matrix
from pool.finding.words import query_terms, stems, terms, words
from stoa.embedder import Embedder

__all__ = ["Found", "ToolIndex"]

# The usual constants of BM25. The name counts twice: it is the shortest true description.
K1 = 1.2
B = 0.75
NAME, DESCRIPTION, PARAMETERS = WEIGHTS = (2.0, 1.0, 1.0)

MAX_QUERY = 4_000
"""Characters of a query that are read."""
MAX_TERMS = 64
"""Most different words of a query that are looked for."""
_PREFIX = 4
"""Letters from which on a word that no tool has stands for all that begin with it."""
_PREFIX_SHARE = 0.5
"""What such a guess is worth, beside a word that is there."""
_MAX_EMBEDDED = 1_000
"""Characters of a tool that are embedded: models read no more than some 256 word pieces."""


@dataclass(frozen=True, slots=True)
class Found:
    """`position` is the tool's place among those given. Scores of one search compare with each other only."""

    position: int
    score: float


@dataclass(frozen=True, slots=True)
class _Read:
    """A tool that was read: its key, the words of each field with their counts, and how many have content.

    Words without content are kept, for a tool may be called `get`; as length they would only measure style.
    """

    key: bytes
    counts: tuple[Counter[str], Counter[str], Counter[str]]
    lengths: tuple[int, int, int]


class ToolIndex:
    """A set of tools to be searched. It does not change; `updated` makes the next one out of it.

    With an embedder, vectors come by `embed_missing`, which takes its time and belongs into a worker thread. Searching
    meanwhile, from another thread, goes by words.
    """

    def __init__(self, tools: Sequence[Findable], *, embedder: Embedder | None = None) -> None:
        self._fill(tools, embedder, {}, {})

    def __repr__(self) -> str:
        how = "by words" if self._matrix is None else f"by words and {self._embedder.name if self._embedder else ''}"
        missing = f", {self.missing} without a vector" if self._embedder and self.missing else ""
        return f"<ToolIndex {len(self)} tools, {len(self._postings)} words, {how}{missing}>"

    def __len__(self) -> int:
        return len(self._keys)

    def updated(self, tools: Sequence[Findable]) -> "ToolIndex":
        """An index of these tools. What this one knows of those that did not change is not worked out again."""
        made = ToolIndex.__new__(ToolIndex)
        made._fill(tools, self._embedder, self._read, self._vectors)
        return made

    def search(self, query: str, limit: int = 10) -> tuple[Found, ...]:
        """The tools that fit best, best first; equals stay in their order. None when nothing speaks of it."""
        scores = self._by_words(query)
        meant = self._by_meaning(query)
        if meant is not None:
            scores = fused(scores, meant)
        best = heapq.nsmallest(max(0, limit), scores.items(), key=lambda pair: (-pair[1], pair[0]))
        return tuple(Found(position, score) for position, score in best)

    def scores(self, query: str) -> list[float]:
        """How well each tool's words fit, in the order of the tools; 0 where none is shared."""
        found = self._by_words(query)
        return [found.get(position, 0.0) for position in range(len(self))]

    @property
    def missing(self) -> int:
        """How many tools have no vector yet."""
        return sum(key not in self._vectors for key in self._texts) if self._embedder else 0

    def embed_missing(self, at_most: int = 32) -> int:
        """Make vectors for so many tools that have none, and say how many are left. Slow: for a worker thread."""
        if self._embedder is None:
            return 0
        chosen = list(islice((key for key in self._texts if key not in self._vectors), at_most))
        if chosen:
            made = self._embedder.embed([self._texts[key] for key in chosen])
            self._vectors.update(zip(chosen, made, strict=True))
        left = self.missing
        if not left:
            self._stack()
        return left

    def _fill(
        self,
        tools: Sequence[Findable],
        embedder: Embedder | None,
        read: Mapping[bytes, _Read],
        vectors: Mapping[bytes, Vector],
    ) -> None:
        self._embedder = embedder
        self._keys = [tool.key for tool in tools]
        self._read = {key: read.get(key) or _reading(key, tool) for key, tool in zip(self._keys, tools, strict=True)}
        self._postings = _postings([self._read[key] for key in self._keys])
        self._vocabulary = sorted(self._postings)
        self._matrix: Matrix | None = None
        self._texts: dict[bytes, str] = {}
        self._vectors: dict[bytes, Vector] = {}
        if embedder is not None:
            self._texts = {key: _text(tool) for key, tool in zip(self._keys, tools, strict=True)}
            self._vectors = {key: vectors[key] for key in self._texts if key in vectors}
            if tools and not self.missing:
                self._stack()

    def _stack(self) -> None:
        self._matrix = matrix([self._vectors[key] for key in self._keys])

    def _by_words(self, query: str) -> dict[int, float]:
        scores: dict[int, float] = {}
        for term in islice(dict.fromkeys(query_terms(query[:MAX_QUERY])), MAX_TERMS):
            known = self._postings.get(term)
            share = 1.0
            if known is None:
                known, share = self._beginning_with(term), _PREFIX_SHARE
            for position, worth in known:
                scores[position] = scores.get(position, 0.0) + share * worth
        return scores

    def _beginning_with(self, term: str) -> Sequence[tuple[int, float]]:
        """For a word that no tool has: the best that each tool has among those that begin with it."""
        best: dict[int, float] = {}
        if len(term) >= _PREFIX:
            for place in range(bisect_left(self._vocabulary, term), len(self._vocabulary)):
                longer = self._vocabulary[place]
                if not longer.startswith(term):
                    break
                for position, worth in self._postings[longer]:
                    best[position] = max(worth, best.get(position, 0.0))
        return tuple(best.items())

    def _by_meaning(self, query: str) -> list[float] | None:
        if self._embedder is None or self._matrix is None or not query.strip():
            return None
        (vector,) = self._embedder.embed([query[:MAX_QUERY]])
        return self._matrix.similarities(vector)


def _reading(key: bytes, tool: Findable) -> _Read:
    parameters = " ".join(word for pair in tool.parameters.items() for word in pair)
    texts = (tool.name, tool.description, parameters)
    name, description, rest = (Counter(stems(text)) for text in texts)
    lengths = (len(terms(tool.name)), len(terms(tool.description)), len(terms(parameters)))
    return _Read(key, (name, description, rest), lengths)


def _postings(tools: Sequence[_Read]) -> dict[str, list[tuple[int, float]]]:
    """For each word the tools that have it, and what it is worth there."""
    size = len(tools)
    usual = [sum(tool.lengths[place] for tool in tools) / size if size else 0.0 for place in range(len(WEIGHTS))]
    counted: dict[str, list[tuple[int, float]]] = {}
    for position, tool in enumerate(tools):
        summed: dict[str, float] = {}
        for weight, counts, length, average in zip(WEIGHTS, tool.counts, tool.lengths, usual, strict=True):
            # A field that is empty everywhere has an average of 0, and then it has no words either.
            share = weight / (1 - B + B * length / (average or 1.0))
            for term, count in counts.items():
                summed[term] = summed.get(term, 0.0) + share * count
        for term, count in summed.items():
            counted.setdefault(term, []).append((position, count))
    for found in counted.values():
        idf = math.log(1 + (size - len(found) + 0.5) / (len(found) + 0.5))
        found[:] = [(position, idf * count * (K1 + 1) / (count + K1)) for position, count in found]
    return counted


def _text(tool: Findable) -> str:
    """A tool as a sentence model reads it."""
    parameters = " ".join(word for pair in tool.parameters.items() for word in pair)
    return f"{' '.join(words(tool.name))}: {tool.description} {parameters}"[:_MAX_EMBEDDED]
