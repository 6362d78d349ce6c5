"""What the content server can be told besides what all servers are told (`stoa.settings`): `STOA_CONTENT_*`."""

from typing import ClassVar

from pydantic import Field

from servers.content.formats.limits import MAX_BYTES
from stoa.settings import ServerSettings

__all__ = ["ContentSettings"]


class ContentSettings(ServerSettings):
    prefix: ClassVar[str] = "STOA_CONTENT_"

    max_document_bytes: int = Field(
        MAX_BYTES,
        ge=1,
        le=MAX_BYTES,
        description="Largest document, decoded, in bytes (`STOA_CONTENT_MAX_DOCUMENT_BYTES`).",
    )
    max_database_bytes: int | None = Field(
        None,
        ge=2**20,
        description="Largest size of the database in bytes; unbounded unless set (`STOA_CONTENT_MAX_DATABASE_BYTES`).",
    )
    busy_seconds: float = Field(
        5.0,
        gt=0,
        le=60,
        description="How long a write waits for other writers before it is refused (`STOA_CONTENT_BUSY_SECONDS`).",
    )
