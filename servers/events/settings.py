"""What the events server can be told besides what all servers are told (`stoa.settings`): `STOA_EVENTS_*`."""

import difflib
from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stoa.errors import BadInput
from stoa.settings import read_environment

__all__ = ["EventsSettings"]

PREFIX: Final = "STOA_EVENTS_"


class EventsSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    projections: bool = Field(
        True,
        description="Whether this process works on projections; several may at once (`STOA_EVENTS_PROJECTIONS`).",
    )
    reserved: tuple[str, ...] = Field(
        (),
        description="Aggregate types, comma separated, that callers may not append events of, besides log, bus, run and"
        " document (`STOA_EVENTS_RESERVED`).",
    )
    start_seconds: float = Field(
        1.0,
        ge=0,
        le=3600,
        description="After how long the log is opened when no call has needed it (`STOA_EVENTS_START_SECONDS`).",
    )

    @field_validator("reserved", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

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
