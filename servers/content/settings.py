"""What the content server can be told besides what all servers are told (`stoa.settings`): `STOA_CONTENT_*`."""

import difflib
from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from servers.content.formats.limits import MAX_BYTES
from stoa.errors import BadInput
from stoa.settings import read_environment

__all__ = ["ContentSettings"]

PREFIX: Final = "STOA_CONTENT_"


class ContentSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

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

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Raises `BadInput` naming the variable that is wrong or unknown."""
        try:
            return cls.model_validate(read_environment(environ, PREFIX))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = str(first["loc"][0])
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            hint = f"Did you mean {PREFIX}{near[0].upper()}?" if near and name not in cls.model_fields else ""
            raise BadInput(
                f"The environment variable {PREFIX}{name.upper()} cannot be used: {first['msg']}.", hint=hint
            ) from None
