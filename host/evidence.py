"""From search results to an answer with citations, or to "nothing found". Pure.

Whether a hit is evidence is for the server to say (`is_evidence`), because it knows its whole collection. Where it
does not, coverage decides: the share (0 to 1) of the question's content words that the hit holds, as the server gives
it, else counted here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from host.answer import Citation
from host.extracts import best_extract, clean
from host.planner import PASSAGE_FIELDS
from pool.finding.words import STOP_WORDS, terms, words

__all__ = ["ENOUGH_COVERAGE", "ENOUGH_OF_BEST", "MAX_CITATIONS", "Conclusion", "Hit", "conclude", "read_hits"]

ENOUGH_COVERAGE = 0.6
"""A hit that covers less of the question is no evidence, where its server does not say whether it is."""
ENOUGH_OF_BEST = 0.65
"""A hit that scores less than this share of the best one of its list is not cited beside it. Measured with the tuned
questions of tests/data/questions.json: at 0.65 every right package is still cited and most of what only shares words
is not."""
MAX_CITATIONS = 3

FENCES = ("```", "~~~")

_GREETINGS = frozenset({"bye", "goodbye", "hello", "hey", "hi", "ok", "okay", "thank", "thanks"})

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
    score: float | None = None
    coverage: float | None = None
    is_evidence: bool | None = None


@dataclass(frozen=True, slots=True)
class Conclusion:
    text: str
    found: bool
    citations: tuple[Citation, ...]


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
    if not set(words(question)) - STOP_WORDS - _GREETINGS:
        return Conclusion("", False, ())  # it asks for nothing, whatever shares its words
    hits = _fuse([_evidence(question, hits) for hits in results])
    weights = _weights(question, [hit for found in results for hit in found])
    wants_code = next(iter(words(question)), "") == "how"
    citations: list[Citation] = []
    for hit in hits:
        if any(hit.document_id == citation.document_id for citation in citations):
            continue
        extract = best_extract(hit.passage, weights, with_code=wants_code)
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
    return Conclusion(_with_numbers(citations), bool(citations), tuple(citations))


def _with_numbers(citations: Sequence[Citation]) -> str:
    """The extracts below each other; a number never stands in code: it follows the words before it, or the block."""
    return "\n\n".join(_numbered(citation) for citation in citations)


def _numbered(citation: Citation) -> str:
    said, gap, code = citation.passage.partition("\n\n")
    if said.startswith(FENCES):
        return f"{citation.passage}\n\n[{citation.number}]"
    if code.startswith(FENCES):
        return f"{said} [{citation.number}]{gap}{code}"
    return f"{citation.passage} [{citation.number}]"


def _evidence(question: str, hits: Sequence[Hit]) -> list[Hit]:
    kept = [hit for hit in hits if _is_evidence(question, hit)]
    best = max((hit.score for hit in kept if hit.score is not None), default=0.0)
    return [hit for hit in kept if hit.score is None or hit.score >= ENOUGH_OF_BEST * best]


def _is_evidence(question: str, hit: Hit) -> bool:
    if hit.is_evidence is not None:
        return hit.is_evidence
    return (_coverage(question, hit) if hit.coverage is None else hit.coverage) >= ENOUGH_COVERAGE


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
    start, is_evidence = _number(value.get("start")), value.get("is_evidence")
    identity = _text(value, "document_id", "id", "uri", "url", "key")
    title = _text(value, "title", "name", "subject", "heading") or identity
    return Hit(
        document_id=identity or title,
        title=title,
        source=_text(value, "source", "uri", "url", "path") or None,
        passage=passage,
        start=start,
        end=_number(value.get("end")) or start + len(passage),
        score=_share(value.get("score")),
        coverage=_share(value.get("coverage")),
        is_evidence=is_evidence if isinstance(is_evidence, bool) else None,
    )


def _text(value: Mapping[str, JsonValue], *names: str) -> str:
    return next((text for name in names if isinstance(text := value.get(name), str) and text), "")


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0


def _share(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) else None
