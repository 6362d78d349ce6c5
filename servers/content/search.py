"""Finding passages: the full-text index names candidates, `ranking` orders them, a hit shows where the words are.

Nothing in a question is syntax: its words are looked for, whatever stands between them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from servers.content.database import Rows, Value
from servers.content.ranking import Candidate, Judgement, Weights, judge, weigh
from servers.content.values import Found, Hit, Page, Span
from servers.content.words import Term, find_words, read_question, stems

__all__ = ["MAX_FOUND", "search", "tenant_word"]

MAX_FOUND: Final = 200
"""Most documents (or passages of one document) that a search ranks and pages through."""

PASSAGES_JUDGED: Final = 3
"""Passages of a document that are read to judge it, besides its opening."""

TITLE_WEIGHT: Final = 4.0
HEADING_WEIGHT: Final = 2.0
"""Against 1.0 for the text itself, where the index picks candidates."""

BRIEF_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True)
class _Passage:
    chunk: int
    start: int
    heading: str
    body: str


@dataclass(frozen=True, slots=True)
class _Document:
    id: str
    title: str
    name: str | None


def search(
    rows: Rows,
    tenant: str,
    question: str,
    *,
    limit: int,
    document: int | None = None,
    listed: Sequence[Found] | None = None,
    brief: bool = True,
) -> Page:
    """The first `limit` hits for a question, or of the `listed` rest of an earlier page.

    `document` keeps to one document, whose passages are then the hits. A document that is gone since it was listed is
    left out; nothing is shown twice, whatever was stored in between.
    """
    terms = read_question(question)
    if not terms:
        return Page((), (), 0)
    holders = {term.stem: _holders(rows, tenant, term) for term in terms}
    documents = cast(int, rows("SELECT count(*) FROM document WHERE tenant = :tenant", {"tenant": tenant})[0][0])
    weights = weigh({stem: len(held) for stem, held in holders.items()}, documents)
    wanted = None if listed is None else [found.document for found in listed[:limit]]
    if document is not None:
        wanted = [document]
    candidates = _candidates(rows, tenant, terms, wanted, by_passage=document is not None)
    known = _documents(rows, tenant, candidates)
    judged: list[tuple[Found, Judgement, _Passage]] = []
    for pk, passages in candidates.items():
        present = {stem for stem, held in holders.items() if pk in held}
        judged += _judge(pk, known[pk], passages, present, weights, by_passage=document is not None)
    if listed is None:
        judged.sort(key=lambda entry: (-entry[1].score, entry[0].document, entry[0].chunk or 0))
        rest = tuple(found for found, _, _ in judged[limit:MAX_FOUND])
    else:
        order = {found: place for place, found in enumerate(listed[:limit])}
        judged = sorted((entry for entry in judged if entry[0] in order), key=lambda entry: order[entry[0]])
        rest = tuple(listed[limit:])
    stems_wanted = frozenset(weights)
    hits = tuple(
        _hit(known[found.document], passage, verdict, stems_wanted, brief=brief)
        for found, verdict, passage in judged[:limit]
    )
    total = len(judged) if document is not None else len(frozenset[int]().union(*holders.values()))
    return Page(hits, rest, total)


def tenant_word(tenant: str) -> str:
    """The tenant as one word of the index: digits only, which no stemmer touches."""
    return str(int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:12], "big"))


def _holders(rows: Rows, tenant: str, term: Term) -> frozenset[int]:
    """The tenant's documents that hold a word."""
    found = rows(
        """
        SELECT DISTINCT chunk.document FROM chunk_index JOIN chunk ON chunk.pk = chunk_index.rowid
        WHERE chunk_index MATCH :query AND chunk.tenant = :tenant
        """,
        {"query": _query(tenant, [term]), "tenant": tenant},
    )
    return frozenset(cast(int, row[0]) for row in found)


def _candidates(
    rows: Rows, tenant: str, terms: Sequence[Term], wanted: Sequence[int] | None, *, by_passage: bool
) -> Mapping[int, Sequence[_Passage]]:
    """Documents in the index's own order, each with its opening passage and the ones that match best."""
    # MATERIALIZED, because bm25() works only in the query that matches, not under a join or a window.
    within, values = _among("chunk.document", wanted)
    found = rows(
        f"""
        WITH matched AS MATERIALIZED (
            SELECT rowid AS pk, bm25(chunk_index, 0.0, {TITLE_WEIGHT}, {HEADING_WEIGHT}, 1.0) AS rank
            FROM chunk_index WHERE chunk_index MATCH :query
        ), placed AS (
            SELECT chunk.pk, chunk.document, chunk.start, chunk.heading,
                row_number() OVER (PARTITION BY chunk.document ORDER BY matched.rank, chunk.pk) AS place,
                min(matched.rank) OVER (PARTITION BY chunk.document) AS best
            FROM matched JOIN chunk ON chunk.pk = matched.pk
            WHERE chunk.tenant = :tenant AND {within}
        ), chosen AS (
            SELECT *, dense_rank() OVER (ORDER BY best, document) AS rank FROM placed WHERE place <= :places
        )
        SELECT chosen.document, chosen.pk, chosen.start, chosen.heading, chunk_index.body
        FROM chosen JOIN chunk_index ON chunk_index.rowid = chosen.pk
        WHERE chosen.rank <= :documents ORDER BY chosen.rank, chosen.place
        """,  # noqa: S608 (constants and placeholders only)
        {
            "query": _query(tenant, terms),
            "tenant": tenant,
            "places": MAX_FOUND if by_passage else PASSAGES_JUDGED,
            "documents": MAX_FOUND,
            **values,
        },
    )
    candidates: dict[int, list[_Passage]] = {}
    for document, *passage in found:
        candidates.setdefault(cast(int, document), []).append(_Passage(*cast(tuple[int, int, str, str], passage)))
    for document, opening in _openings(rows, tenant, candidates).items():
        others = [passage for passage in candidates[document] if passage.chunk != opening.chunk]
        candidates[document] = [opening, *others]
    return candidates


def _openings(rows: Rows, tenant: str, documents: Iterable[int]) -> Mapping[int, _Passage]:
    within, values = _among("chunk.document", documents)
    found = rows(
        f"""
        SELECT chunk.document, chunk.pk, chunk.start, chunk.heading, chunk_index.body
        FROM chunk JOIN chunk_index ON chunk_index.rowid = chunk.pk
        WHERE chunk.ordinal = 0 AND chunk.tenant = :tenant AND {within}
        """,  # noqa: S608 (placeholders only)
        {"tenant": tenant, **values},
    )
    return {cast(int, document): _Passage(*cast(tuple[int, int, str, str], passage)) for document, *passage in found}


def _documents(rows: Rows, tenant: str, documents: Iterable[int]) -> Mapping[int, _Document]:
    within, values = _among("pk", documents)
    found = rows(
        f"SELECT pk, id, title, name FROM document WHERE tenant = :tenant AND {within}",  # noqa: S608 (placeholders)
        {"tenant": tenant, **values},
    )
    return {cast(int, pk): _Document(*cast(tuple[str, str, str | None], document)) for pk, *document in found}


def _judge(
    pk: int,
    document: _Document,
    passages: Sequence[_Passage],
    present: frozenset[str] | set[str],
    weights: Weights,
    *,
    by_passage: bool,
) -> Iterable[tuple[Found, Judgement, _Passage]]:
    title = list(dict.fromkeys(stems(f"{document.title} {document.name or ''}")))
    words = [stems(passage.body) for passage in passages]
    if not by_passage:
        verdict = judge(Candidate(title, words, present), weights)
        yield Found(pk), verdict, passages[verdict.passage]
        return
    for passage, own in zip(passages, words, strict=True):
        if not weights.keys().isdisjoint(own):
            yield Found(pk, passage.chunk), judge(Candidate((), (own,), present), weights), passage


def _hit(document: _Document, passage: _Passage, verdict: Judgement, wanted: frozenset[str], *, brief: bool) -> Hit:
    marks = [Span(word.start, word.end) for word in find_words(passage.body) if word.stem in wanted]
    window = _window(passage.body, marks) if brief else Span(0, len(passage.body))
    return Hit(
        document_id=document.id,
        title=document.title,
        name=document.name,
        passage=passage.body[window.start : window.end],
        place=Span(passage.start + window.start, passage.start + window.end),
        highlights=tuple(
            Span(passage.start + mark.start, passage.start + mark.end)
            for mark in marks
            if window.start <= mark.start and mark.end <= window.end
        ),
        score=round(verdict.score, 4),
        coverage=round(verdict.coverage, 4),
        is_evidence=verdict.is_evidence,
    )


def _window(body: str, marks: Sequence[Span]) -> Span:
    """The part of a passage that holds most matches, cut between words."""
    if len(body) <= BRIEF_CHARACTERS:
        return Span(0, len(body))
    reach = BRIEF_CHARACTERS * 3 // 4
    counts = [sum(1 for other in marks if mark.start <= other.start <= mark.start + reach) for mark in marks]
    first = marks[counts.index(max(counts))].start if marks else 0
    start = max(0, min(first - BRIEF_CHARACTERS // 8, len(body) - BRIEF_CHARACTERS))
    if start:
        gap = body.find(" ", start, first + 1)
        start = gap + 1 if gap >= 0 else first
    end = min(len(body), start + BRIEF_CHARACTERS)
    if end < len(body):
        gap = body.rfind(" ", start + reach, end)
        end = gap if gap >= 0 else end
    return Span(start, end)


def _query(tenant: str, terms: Iterable[Term]) -> str:
    return f'tenant : "{tenant_word(tenant)}" AND {{title heading body}} : ({_any_of(terms)})'


def _any_of(terms: Iterable[Term]) -> str:
    """Terms hold letters and digits only, so that quotes around them are all the escaping there is to do."""
    return " OR ".join(f'"{term.text}"' for term in terms)


def _among(column: str, wanted: Iterable[int] | None) -> tuple[str, dict[str, Value]]:
    if wanted is None:
        return "1", {}
    values: dict[str, Value] = {f"among{number}": value for number, value in enumerate(wanted)}
    return f"{column} IN ({', '.join(f':{name}' for name in values)})", values
