"""Values that the rooms of this server hand to each other."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

__all__ = ["NOBODY", "Document", "Found", "Hit", "Origin", "Page", "Put", "Request", "Span"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller wants stored: one of `text`, `data_base64` and `path`, and what is known about it."""

    text: str | None = None
    data_base64: str | None = None
    path: str | None = None
    name: str | None = None
    media_type: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose request changes something, and in which process: it stands in the event that tells of it."""

    principal: str | None = None
    source: str | None = None


NOBODY: Final = Origin()


@dataclass(frozen=True, slots=True)
class Document:
    """What is known about a document, without its text. `version` counts from 1; `characters` is of its Markdown."""

    pk: int
    id: str
    name: str | None
    title: str
    media_type: str
    sha256: str
    version: int
    characters: int
    chunks: int
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Put:
    """How a put ended: `created` when the document is new, `changed` when an older version gave way to it."""

    document: Document
    created: bool
    changed: bool = False
    removed: Document | None = None
    """An older version whose name now has bytes that another document already holds."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a document's Markdown."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit:
    document_id: str
    title: str
    name: str | None
    passage: str
    place: Span
    highlights: tuple[Span, ...]
    score: float
    coverage: float
    is_evidence: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A place in the list of what was found: a document, or one passage of it (`chunk`) when one document was asked."""

    document: int
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`rest` is what follows, best first; `total` counts every document (or passage) that holds a word of the
    question, also those beyond `MAX_FOUND`."""

    hits: tuple[Hit, ...]
    rest: tuple[Found, ...]
    total: int
