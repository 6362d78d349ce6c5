"""What callers may say to the tools, each argument with an example."""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

__all__ = [
    "After",
    "Asked",
    "AtPosition",
    "AtTime",
    "AtVersion",
    "Backwards",
    "CompareTime",
    "CompareVersion",
    "CorrelationId",
    "Cursor",
    "DeadLetterIds",
    "Detail",
    "Events",
    "ExpectedVersion",
    "FromVersion",
    "IdempotencyKey",
    "Key",
    "Limit",
    "MaxEvents",
    "NewEventIn",
    "OptionalProjection",
    "OptionalStream",
    "OptionalType",
    "Order",
    "Prefix",
    "Projection",
    "ReplayTypes",
    "Since",
    "Stream",
    "StreamPrefix",
    "Subject",
    "ToVersion",
    "Types",
    "Until",
    "WaitSeconds",
]

MAX_NAME: Final = 300
MAX_WORD: Final = 200
MAX_EVENTS: Final = 1_000
MAX_TYPES: Final = 20


class NewEventIn(BaseModel):
    """An event to be appended. Who appends it and from where is written down by the server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(max_length=MAX_NAME, description="The aggregate and a verb in the past, e.g. 'order.placed'.")
    data: dict[str, JsonValue] = Field(
        description="What happened, as a JSON object of at most 1 MiB, e.g. {'amount': '129.90'}."
    )
    event_id: str | None = Field(
        default=None,
        max_length=MAX_WORD,
        description="A UUID of yours, e.g. '0192f0c1-7c1e-7d3a-9a51-3f0e8b6f2c11'. The same id again is the same event"
        " and is not appended twice.",
    )
    occurred_at: AwareDatetime | None = Field(
        default=None, description="When it happened, with a zone, e.g. '2026-05-01T09:30:00Z'. Default: now."
    )
    schema_version: int | None = Field(
        default=None,
        ge=1,
        description="Which version of the type's schema the data follows, e.g. 2. Default: the newest.",
    )
    correlation_id: str | None = Field(
        default=None,
        max_length=MAX_WORD,
        description="Shared by all that one request or run has caused, e.g. 'checkout-77'.",
    )
    causation_id: str | None = Field(
        default=None,
        max_length=MAX_WORD,
        description="The id of the event or call that caused this one, e.g. an event_id.",
    )
    tags: list[str] = Field(default=[], max_length=20, description="Words to find it by, e.g. ['import', 'retry'].")
    subject: str | None = Field(
        default=None,
        max_length=MAX_WORD,
        description="The person whom the data is about, e.g. 'customer-17': the data is then encrypted under a key of"
        " that person's own, and erase_subject makes it unreadable.",
    )


Stream = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        description="A stream: the aggregate's type, a hyphen and its id, e.g. 'order-1001'.",
    ),
]
OptionalStream = Annotated[
    str | None, Field(max_length=MAX_NAME, description="The stream of an aggregate, e.g. 'order-1001'.")
]
Events = Annotated[
    list[NewEventIn],
    Field(
        min_length=1,
        max_length=MAX_EVENTS,
        description="The events in their order, e.g. [{'type': 'order.placed', 'data': {'amount': '129.90'}}]. All of"
        " them are appended, or none.",
    ),
]
ExpectedVersion = Annotated[
    int | None,
    Field(
        ge=0,
        description="The version that the stream has to have, e.g. 4; 0 when it must not exist yet. Left out: any.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=128,
        description="Any string of yours, e.g. 'checkout-77-paid'. The same request with the same key is appended once"
        " and gets the first answer, however often it is sent.",
    ),
]
FromVersion = Annotated[int, Field(ge=1, description="The first version to read, e.g. 1.")]
ToVersion = Annotated[int | None, Field(ge=1, description="The last version to read, e.g. 20. Default: the newest.")]
Backwards = Annotated[bool, Field(description="Whether to begin with the newest event, e.g. true.")]
Limit = Annotated[int, Field(ge=1, le=50, description="How many to return, e.g. 10.")]
Cursor = Annotated[
    str | None,
    Field(
        max_length=16_384,
        description="`next_cursor` of the page before, with the other arguments as they were, e.g. 'eyJr…'.",
    ),
]
Detail = Annotated[
    Literal["brief", "full"],
    Field(description="'brief' cuts data above 2,000 characters, 'full' shows it whole with all metadata."),
]
Types = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_NAME)]] | None,
    Field(
        max_length=MAX_TYPES, description="Only these types, or beginnings of types, e.g. ['order.*', 'run.failed']."
    ),
]
StreamPrefix = Annotated[
    str | None,
    Field(max_length=MAX_NAME, description="Only streams whose names begin so, e.g. 'order-'."),
]
CorrelationId = Annotated[
    str | None,
    Field(max_length=MAX_WORD, description="Only what one request or run has caused, e.g. 'checkout-77'."),
]
Since = Annotated[
    AwareDatetime | None, Field(description="Recorded at or after this time, e.g. '2026-05-01T00:00:00Z'.")
]
Until = Annotated[AwareDatetime | None, Field(description="Recorded before this time, e.g. '2026-06-01T00:00:00Z'.")]
Order = Annotated[Literal["newest_first", "oldest_first"], Field(description="Which end to begin with.")]
Projection = Annotated[
    str, Field(min_length=1, max_length=MAX_NAME, description="The name of a projection, e.g. 'streams'.")
]
OptionalProjection = Annotated[
    str | None, Field(max_length=MAX_NAME, description="The name of a projection, e.g. 'streams'.")
]
Key = Annotated[
    str | None,
    Field(max_length=MAX_WORD, description="The key of one document of the projection, e.g. 'order-1001'."),
]
Prefix = Annotated[
    str, Field(max_length=MAX_WORD, description="Only documents whose keys begin so, e.g. 'order-'. Default: all.")
]
AtVersion = Annotated[int | None, Field(ge=0, description="As of this version of the stream, e.g. 4.")]
AtTime = Annotated[
    AwareDatetime | None, Field(description="As of this time (the last moment included), e.g. '2026-05-01T09:30:00Z'.")
]
AtPosition = Annotated[
    int | None,
    Field(ge=0, description="As of this position of the log, e.g. 1200. Positions are for callers with events:admin."),
]
CompareVersion = Annotated[
    int | None, Field(ge=0, description="Also say what has changed since this version of the stream, e.g. 2.")
]
CompareTime = Annotated[
    AwareDatetime | None, Field(description="Also say what has changed since this time, e.g. '2026-05-01T00:00:00Z'.")
]
MaxEvents = Annotated[int, Field(ge=1, le=1_000_000, description="Stop after so many events, e.g. 100000.")]
After = Annotated[
    int,
    Field(ge=0, description="Begin after this position, e.g. 1200. Positions are for callers with events:admin."),
]
ReplayTypes = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_NAME)]] | None,
    Field(
        max_length=MAX_TYPES,
        description="Only events of these types, or beginnings of types, e.g. ['order.*']. Default: those that the"
        " projection reads.",
    ),
]
WaitSeconds = Annotated[
    int, Field(ge=0, le=300, description="How long to wait for the end, telling progress, e.g. 30; 0 returns at once.")
]
DeadLetterId = Annotated[str, Field(min_length=1, max_length=1_000)]
Asked = Annotated[
    str,
    Field(
        min_length=1, max_length=1_000, description="`id` of a dead letter, as list_dead_letters shows it, e.g. 'MT…'."
    ),
]
DeadLetterIds = Annotated[
    list[DeadLetterId] | None,
    Field(
        max_length=50,
        description="Ids of dead letters as list_dead_letters shows them, e.g. ['MT…']. Left out: all.",
    ),
]
OptionalType = Annotated[
    str | None,
    Field(max_length=MAX_NAME, description="An event type, e.g. 'order.placed'. Left out: all types are listed."),
]
Subject = Annotated[
    str,
    Field(min_length=1, max_length=MAX_WORD, description="The person, as named in the events, e.g. 'customer-17'."),
]
