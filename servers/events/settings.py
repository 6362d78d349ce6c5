"""What the events server can be told besides what all servers are told (`stoa.settings`): `STOA_EVENTS_*`."""

from typing import ClassVar

from pydantic import Field, field_validator

from stoa.settings import ServerSettings

__all__ = ["EventsSettings"]


class EventsSettings(ServerSettings):
    prefix: ClassVar[str] = "STOA_EVENTS_"

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
