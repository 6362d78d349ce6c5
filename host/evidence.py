"""From search results to an answer with citations, or to "nothing found". Pure.

Whether there is an answer is decided by coverage: the share (0 to 1) of the question's content words that a hit
holds, weighted by how rare each is where the server says so, counted plainly where it does not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from host.answer import Citation
from host.extracts import best_extract, clean
from host.planner import PASSAGE_FIELDS
from host.rank import terms, words

__all__ = ["ENOUGH_COVERAGE", "MAX_CITATIONS", "Conclusion", "Hit", "conclude", "read_hits"]

ENOUGH_COVERAGE = 0.6
"""A hit that covers less of the question is no evidence."""
MAX_CITATIONS = 3

_RANK_CONSTANT = 60
"""Of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009."""


@dataclass(frozen=True, slots=True)
class Hit:
    document_id: str
    title: str
    source: str | None
    passage: str
    start: int
    end: int
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`coverage` is the best among all hits, 0 where there were none."""

    text: str
    found: bool
    citations: tuple[Citation, ...]
    coverage: float


def read_hits(structured: JsonValue) -> tuple[Hit, ...]:
    """The hits in a tool's structured result, in its order: objects in a list that carry a passage."""
    if not isinstance(structured, dict):
        return ()
    for value in structured.values():
        if isinstance(value, list):
            hits = tuple(hit for each in value if isinstance(each, dict) and (hit := _hit(each)) is not None)
            if hits:
                return hits
    return ()


def conclude(question: str, results: Sequence[Sequence[Hit]]) -> Conclusion:
    """The answer that several searches give together; each result is in its server's order."""
    hits = [
        hit if hit.coverage is not None else replace(hit, coverage=_coverage(question, hit)) for hit in _fuse(results)
    ]
    best = max((hit.coverage or 0.0 for hit in hits), default=0.0)
    weights = _weights(question, hits)
    citations: list[Citation] = []
    for hit in hits:
        known = any(hit.document_id == citation.document_id for citation in citations)
        if known or (hit.coverage or 0.0) < ENOUGH_COVERAGE:
            continue
        extract = best_extract(hit.passage, weights, with_code=next(iter(words(question)), "") == "how")
        if extract is None:
            continue
        citations.append(
            Citation(
                number=len(citations) + 1,
                document_id=hit.document_id,
                title=clean(hit.title) or hit.document_id,
                source=hit.source,
                passage=extract.text,
                start=hit.start + extract.start,
                end=hit.start + extract.end,
            )
        )
        if len(citations) == MAX_CITATIONS:
            break
    text = "\n\n".join(f"{citation.passage} [{citation.number}]" for citation in citations)
    return Conclusion(text, bool(citations), tuple(citations), best)


def _fuse(results: Sequence[Sequence[Hit]]) -> list[Hit]:
    """One order out of several, by place only: scores of different servers are not comparable."""
    placed = [(1 / (_RANK_CONSTANT + place), hit) for hits in results for place, hit in enumerate(hits, 1)]
    return [hit for _, hit in sorted(placed, key=lambda pair: -pair[0])]


def _coverage(question: str, hit: Hit) -> float:
    wanted = set(terms(question))
    return len(wanted & set(terms(f"{hit.title} {hit.passage}"))) / len(wanted) if wanted else 0.0


def _weights(question: str, hits: Sequence[Hit]) -> dict[str, float]:
    """What each word of the question is worth within these hits: a word that all of them hold tells nothing apart."""
    held = [set(terms(hit.passage)) for hit in hits]
    wanted = dict.fromkeys(terms(question))
    return {term: math.log(1 + (len(held) + 1) / (1 + sum(term in each for each in held))) for term in wanted}


def _hit(value: Mapping[str, JsonValue]) -> Hit | None:
    passage = next((text for name in PASSAGE_FIELDS if isinstance(text := value.get(name), str) and text), None)
    if passage is None:
        return None
    coverage, start = value.get("coverage"), _number(value.get("start"))
    identity = _text(value, "document_id", "id", "uri", "url", "key")
    title = _text(value, "title", "name", "subject", "heading") or identity
    return Hit(
        document_id=identity or title,
        title=title,
        source=_text(value, "source", "uri", "url", "path") or None,
        passage=passage,
        start=start,
        end=_number(value.get("end")) or start + len(passage),
        coverage=float(coverage) if isinstance(coverage, int | float) else None,
    )


def _text(value: Mapping[str, JsonValue], *names: str) -> str:
    return next((text for name in names if isinstance(text := value.get(name), str) and text), "")


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
