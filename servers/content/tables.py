"""What lies in the database. Every row has its tenant; the full-text index is no table of ours, see `migrations`."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, TypeDecorator
from sqlmodel import Field, SQLModel

__all__ = ["ChunkRow", "DocumentRow", "IdempotencyRow", "TextRow"]


class _Moment(TypeDecorator[datetime]):
    """SQLite keeps no time zone: moments are stored in UTC and come back aware."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class DocumentRow(SQLModel, table=True):
    """A document without its text. `pk` is never used twice: cursors lean on it."""

    __tablename__ = "document"  # pyright: ignore[reportAssignmentType]  # declared as a function there

    pk: int | None = Field(default=None, primary_key=True)
    id: str
    tenant: str
    name: str | None
    title: str
    media_type: str
    sha256: str
    version: int
    characters: int
    chunks: int
    tags: str
    """A JSON array of strings."""
    created_at: datetime = Field(sa_type=_Moment)
    updated_at: datetime = Field(sa_type=_Moment)


class TextRow(SQLModel, table=True):
    """The Markdown of a document, apart from its row so that lists do not read it."""

    __tablename__ = "document_text"  # pyright: ignore[reportAssignmentType]  # declared as a function there

    document: int = Field(primary_key=True)
    tenant: str
    markdown: str


class ChunkRow(SQLModel, table=True):
    """A passage that can be found: characters `start` to `end` of the Markdown. Its `pk` is its row in the index."""

    __tablename__ = "chunk"  # pyright: ignore[reportAssignmentType]  # declared as a function there

    pk: int | None = Field(default=None, primary_key=True)
    document: int
    tenant: str
    ordinal: int
    start: int
    end: int
    heading: str


class IdempotencyRow(SQLModel, table=True):
    """What was answered to a write that carried a key, so that the same key gets the same answer."""

    __tablename__ = "idempotency"  # pyright: ignore[reportAssignmentType]  # declared as a function there

    tenant: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    answer: str
    """JSON."""
    recorded_at: datetime = Field(sa_type=_Moment)
