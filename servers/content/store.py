"""Documents in the database: put, read, list, complete, delete. Whatever is asked, it is asked for one tenant.

A document is known by its name (a file, an address, a title of the caller's choice) where it has one, and by its bytes:
the same bytes are never stored twice for a tenant, and new bytes under a known name replace the old ones.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, text
from sqlmodel import Session, col, or_, select

from servers.content.chunks import Chunk
from servers.content.database import Database
from servers.content.events import deletion, events_of
from servers.content.outbox import put_in
from servers.content.search import tenant_word
from servers.content.tables import ChunkRow, DocumentRow, IdempotencyRow, TextRow
from servers.content.values import NOBODY, Document, Origin, Put
from stoa.clock import Clock, SystemClock
from stoa.errors import Conflict, NotFound
from stoa.ids import new_id

__all__ = ["Draft", "Keyed", "Store"]

KEYS_KEPT: Final = timedelta(days=1)
"""How long an idempotency key gets its first answer."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A document about to be stored; `sha256` is of the bytes that it was made from."""

    name: str | None
    title: str
    media_type: str
    sha256: str
    markdown: str
    chunks: Sequence[Chunk]
    tags: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    """Which of title, media_type and tags the caller gave; the others were derived."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """An idempotency key, and a digest of all that the request asked for."""

    key: str
    fingerprint: str


class Store:
    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self.database = database
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"<Store in {self.database!r}>"

    async def put(self, tenant: str, draft: Draft, *, keyed: Keyed | None = None, origin: Origin = NOBODY) -> Put:
        """Store a document, its passages, its index and the events of it in one transaction. The same bytes again
        change nothing."""
        now = self._clock.now()

        def work(session: Session) -> Put:
            if keyed is not None and (answered := _answered(session, tenant, keyed, now)) is not None:
                return answered
            put = _put(session, tenant, draft, now)
            put_in(session, events_of(tenant, put, origin), now)
            if keyed is not None:
                session.connection().execute(
                    delete(IdempotencyRow).where(col(IdempotencyRow.recorded_at) < now - KEYS_KEPT)
                )
                answer = json.dumps({"id": put.document.id, "created": put.created, "changed": put.changed})
                session.add(
                    IdempotencyRow(
                        tenant=tenant, key=keyed.key, fingerprint=keyed.fingerprint, answer=answer, recorded_at=now
                    )
                )
                session.flush()
            return put

        return await self.database.write(work)

    async def recall(self, tenant: str, keyed: Keyed) -> Put | None:
        """What the key was answered before. Raises `Conflict` when it came with another request."""
        now = self._clock.now()
        return await self.database.read(lambda session: _answered(session, tenant, keyed, now))

    async def find(self, tenant: str, sha256: str) -> Document | None:
        """The document that was made from these bytes."""

        def work(session: Session) -> Document | None:
            row = _by_content(session, tenant, sha256)
            return None if row is None else _document(row)

        return await self.database.read(work)

    async def get(self, tenant: str, id: str) -> Document:
        """Raises `NotFound`."""
        return await self.database.read(lambda session: _document(_by_id(session, tenant, id)))

    async def read(self, tenant: str, id: str, *, offset: int = 0, length: int | None = None) -> tuple[Document, str]:
        """A document and `length` characters of its Markdown from `offset`. Raises `NotFound`."""

        def work(session: Session) -> tuple[Document, str]:
            row = _by_id(session, tenant, id)
            markdown = session.exec(
                select(TextRow.markdown).where(TextRow.tenant == tenant, TextRow.document == row.pk)
            ).one()
            end = len(markdown) if length is None else offset + length
            return _document(row), markdown[offset:end]

        return await self.database.read(work)

    async def list(self, tenant: str, *, before: int | None, limit: int) -> Sequence[Document]:
        """Newest first; those made before the one with the pk `before`."""

        def work(session: Session) -> Sequence[Document]:
            query = select(DocumentRow).where(DocumentRow.tenant == tenant)
            if before is not None:
                query = query.where(col(DocumentRow.pk) < before)
            rows = session.exec(query.order_by(col(DocumentRow.pk).desc()).limit(limit))
            return [_document(row) for row in rows]

        return await self.database.read(work)

    async def complete(self, tenant: str, prefix: str, *, limit: int) -> Sequence[str]:
        """Ids that begin so, and ids of documents whose title or name begins so; newest first."""

        def work(session: Session) -> Sequence[str]:
            query = select(DocumentRow.id).where(DocumentRow.tenant == tenant)
            if prefix:
                query = query.where(
                    or_(
                        col(DocumentRow.id).startswith(prefix.upper(), autoescape=True),
                        col(DocumentRow.title).istartswith(prefix, autoescape=True),
                        col(DocumentRow.name).istartswith(prefix, autoescape=True),
                    )
                )
            return list(session.exec(query.order_by(col(DocumentRow.pk).desc()).limit(limit)))

        return await self.database.read(work)

    async def delete(self, tenant: str, id: str, *, origin: Origin = NOBODY) -> Document:
        """Remove a document, its passages and its index. Raises `NotFound`."""
        now = self._clock.now()

        def work(session: Session) -> Document:
            row = _by_id(session, tenant, id)
            document = _document(row)
            _forget(session, document)
            session.delete(row)
            session.flush()
            put_in(session, [deletion(tenant, document, origin)], now)
            return document

        return await self.database.write(work)


def _put(session: Session, tenant: str, draft: Draft, now: datetime) -> Put:
    same = _by_content(session, tenant, draft.sha256)
    named = None if draft.name is None else _by_name(session, tenant, draft.name)
    removed = None
    if same is not None and named is not None and named.pk != same.pk:
        removed = _document(named)
        _forget(session, removed)
        session.delete(named)
        session.flush()
    if same is not None:
        if _is_told_alike(same, draft):
            return Put(_document(same), created=False, removed=removed)
        draft = _with_what_was_told(draft, same)
    row = same or named
    created = row is None
    if row is None:
        row = _new_row(tenant, draft, now)
    else:
        _forget(session, _document(row))
    row.name = row.name or draft.name
    row.title, row.media_type, row.sha256 = draft.title, draft.media_type, draft.sha256
    row.tags = json.dumps(draft.tags, ensure_ascii=False)
    row.characters, row.chunks = len(draft.markdown), len(draft.chunks)
    row.version += 1
    row.updated_at = now
    session.add(row)
    session.flush()
    document = _document(row)
    _index(session, tenant, document, draft)
    return Put(document, created=created, changed=not created, removed=removed)


def _new_row(tenant: str, draft: Draft, now: datetime) -> DocumentRow:
    return DocumentRow(
        id=new_id(now),
        tenant=tenant,
        name=draft.name,
        title=draft.title,
        media_type=draft.media_type,
        sha256=draft.sha256,
        version=0,
        characters=0,
        chunks=0,
        tags="[]",
        created_at=now,
        updated_at=now,
    )


def _is_told_alike(row: DocumentRow, draft: Draft) -> bool:
    """Whether the caller said nothing about these bytes that is not known; a document keeps its first name."""
    return (
        ("title" not in draft.given or row.title == draft.title)
        and ("media_type" not in draft.given or row.media_type == draft.media_type)
        and ("tags" not in draft.given or json.loads(row.tags) == list(draft.tags))
        and (row.name is not None or draft.name is None)
    )


def _with_what_was_told(draft: Draft, row: DocumentRow) -> Draft:
    """What the caller leaves out about bytes that are known stays as it was."""
    title = draft.title if "title" in draft.given else row.title
    tags = draft.tags if "tags" in draft.given else tuple(json.loads(row.tags))
    return replace(draft, title=title, tags=tags)


def _index(session: Session, tenant: str, document: Document, draft: Draft) -> None:
    session.add(TextRow(document=document.pk, tenant=tenant, markdown=draft.markdown))
    rows = [
        ChunkRow(
            document=document.pk,
            tenant=tenant,
            ordinal=ordinal,
            start=chunk.start,
            end=chunk.end,
            heading=chunk.heading or "",
        )
        for ordinal, chunk in enumerate(draft.chunks)
    ]
    session.add_all(rows)
    session.flush()
    if rows:
        entry = {"tenant": tenant_word(tenant), "title": f"{document.title}\n{document.name or ''}"}
        session.connection().execute(
            text(
                "INSERT INTO chunk_index (rowid, tenant, title, heading, body)"
                " VALUES (:pk, :tenant, :title, :heading, :body)"
            ),
            [
                {**entry, "pk": row.pk, "heading": row.heading, "body": draft.markdown[row.start : row.end]}
                for row in rows
            ],
        )


def _forget(session: Session, document: Document) -> None:
    """Take a document's text out of the index and the tables; its own row stays."""
    connection = session.connection()
    connection.execute(
        text("DELETE FROM chunk_index WHERE rowid IN (SELECT pk FROM chunk WHERE document = :pk)"), {"pk": document.pk}
    )
    connection.execute(delete(ChunkRow).where(col(ChunkRow.document) == document.pk))
    connection.execute(delete(TextRow).where(col(TextRow.document) == document.pk))


def _answered(session: Session, tenant: str, keyed: Keyed, now: datetime) -> Put | None:
    row = session.get(IdempotencyRow, (tenant, keyed.key))
    if row is None or row.recorded_at < now - KEYS_KEPT:
        return None
    if row.fingerprint != keyed.fingerprint:
        raise Conflict(
            f"The idempotency key {keyed.key!r} was used for another request.",
            hint="Use a new key for each new request, and the same key only to repeat one.",
        )
    answer = json.loads(row.answer)
    document = session.exec(
        select(DocumentRow).where(DocumentRow.tenant == tenant, DocumentRow.id == answer["id"])
    ).first()
    if document is None:
        raise Conflict(
            f"The document that the idempotency key {keyed.key!r} stored was deleted since.",
            hint="Use a new key to store it again.",
        )
    return Put(_document(document), created=answer["created"], changed=answer["changed"])


def _by_id(session: Session, tenant: str, id: str) -> DocumentRow:
    row = session.exec(select(DocumentRow).where(DocumentRow.tenant == tenant, DocumentRow.id == id.upper())).first()
    if row is None:
        raise NotFound(f"There is no document {id!r}.", hint="list_documents and search_documents give the ids.")
    return row


def _by_content(session: Session, tenant: str, sha256: str) -> DocumentRow | None:
    return session.exec(select(DocumentRow).where(DocumentRow.tenant == tenant, DocumentRow.sha256 == sha256)).first()


def _by_name(session: Session, tenant: str, name: str) -> DocumentRow | None:
    return session.exec(select(DocumentRow).where(DocumentRow.tenant == tenant, DocumentRow.name == name)).first()


def _document(row: DocumentRow) -> Document:
    assert row.pk is not None
    return Document(
        pk=row.pk,
        id=row.id,
        name=row.name,
        title=row.title,
        media_type=row.media_type,
        sha256=row.sha256,
        version=row.version,
        characters=row.characters,
        chunks=row.chunks,
        tags=tuple(json.loads(row.tags)),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
