"""Messages that could not be handled: recorded in the log, listed, tried again, given up.

They lie in the stream `bus-<subscription>` of the tenant whose event it was, so nothing is known only to a broker. What
is kept is a reference: the event itself is read from the log when it is tried again, if it is still there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from eventlog.bus.message import Message
from eventlog.event import Event, Metadata, NewEvent, StreamId
from eventlog.schemas import EventType
from stoa.errors import NotFound

if TYPE_CHECKING:
    from eventlog.log import EventLog

__all__ = [
    "DEAD_LETTERED",
    "MAX_LISTED",
    "MAX_REASON",
    "PURGED",
    "RETRIED",
    "TYPES",
    "DeadLetter",
    "DeadLetters",
    "fold",
    "why",
]

DEAD_LETTERED: Final = "bus.dead_lettered"
RETRIED: Final = "bus.dead_letter_retried"
PURGED: Final = "bus.dead_letter_purged"
MAX_REASON: Final = 500
MAX_LISTED: Final = 1_000
_PAGE: Final = 1_000

_IDS: Final = uuid5(NAMESPACE_URL, "stoa:bus:dead-letter")

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer", "minimum": 0}

TYPES: Final = (
    EventType(
        DEAD_LETTERED,
        "A subscription of the bus gave an event up.",
        schemas={
            1: {
                "type": "object",
                "properties": {
                    "subscription": _TEXT,
                    "reason": _TEXT,
                    "attempts": _NUMBER,
                    "event_id": _TEXT,
                    "stream": _TEXT,
                    "version": _NUMBER,
                    "position": _NUMBER,
                    "event_type": _TEXT,
                },
                "required": ["subscription", "reason", "attempts"],
            }
        },
    ),
    EventType(
        RETRIED,
        "A dead letter of the bus was handled after all.",
        schemas={1: {"type": "object", "properties": {"event_id": _TEXT}, "required": ["event_id"]}},
    ),
    EventType(
        PURGED,
        "A dead letter of the bus was given up for good.",
        schemas={1: {"type": "object", "properties": {"event_id": _TEXT}, "required": ["event_id"]}},
    ),
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`event_id` is of the event that nobody could handle; empty for a message that could not be read at all: such a
    one can only be given up, by its `id`."""

    id: str
    tenant: str
    subscription: str
    event_id: str
    stream: str
    version: int
    position: int
    event_type: str
    reason: str
    attempts: int
    failed_at: datetime


class DeadLetters:
    """Of the log. Each answer is for one tenant."""

    def __init__(self, log: "EventLog") -> None:
        self._log = log

    async def record(self, subscription: str, message: Message, *, reason: str, attempts: int) -> None:
        """Once for an event and a subscription, however often it is asked for."""
        await self._append(
            message.tenant,
            subscription,
            DEAD_LETTERED,
            message.event_id,
            {
                "subscription": subscription,
                "reason": reason[:MAX_REASON],
                "attempts": attempts,
                "event_id": message.event_id,
                "stream": message.stream,
                "version": message.version,
                "position": message.position,
                "event_type": message.type,
            },
            correlation_id=message.metadata.get("correlation_id"),
        )

    async def record_unreadable(
        self, subscription: str, tenant: str, *, digest: str, reason: str, attempts: int
    ) -> None:
        """A message that is none. Its digest stands for it: what others made up is not kept."""
        data = {"subscription": subscription, "reason": reason[:MAX_REASON], "attempts": attempts}
        await self._append(tenant, subscription, DEAD_LETTERED, digest, data, correlation_id=None)

    async def list(self, tenant: str, subscription: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """Those that are still to be dealt with, oldest first."""
        return (await self._open(tenant, subscription))[: min(limit, MAX_LISTED)]

    async def retry(
        self, tenant: str, subscription: str, event_id: str, handle: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Hand the event, as it is in the log now, to `handle`; what that raises is raised, and the letter stays.
        Raises `NotFound` for a letter or an event that there is not."""
        letter = await self._one(tenant, subscription, event_id)
        if not letter.event_id:
            raise NotFound("The message could not be read; there is no event to try.", hint="Give it up by purging it.")
        event_id = letter.event_id
        found = await self._log.read_stream(
            StreamId(tenant, letter.stream), from_version=letter.version, to_version=letter.version, limit=1
        )
        if not found or found[0].event_id != event_id:
            raise NotFound(
                f"The event {event_id!r} is not in the log any more.", hint="Give its dead letter up by purging it."
            )
        await handle(Message.of(found[0]))
        await self._append(tenant, subscription, RETRIED, event_id, {"event_id": event_id}, correlation_id=None)

    async def purge(self, tenant: str, subscription: str, event_id: str) -> None:
        """Give it up for good: by the event's id, or its own. Raises `NotFound`."""
        await self._give_up(await self._one(tenant, subscription, event_id))

    async def purge_all(self, tenant: str, subscription: str) -> Sequence[DeadLetter]:
        """Give up as many as `list` shows at most; answers which."""
        letters = await self.list(tenant, subscription, limit=MAX_LISTED)
        for each in letters:
            await self._give_up(each)
        return letters

    async def _give_up(self, letter: DeadLetter) -> None:
        about = letter.event_id or letter.id
        await self._append(letter.tenant, letter.subscription, PURGED, about, {"event_id": about}, correlation_id=None)

    async def _one(self, tenant: str, subscription: str, event_id: str) -> DeadLetter:
        for each in await self._open(tenant, subscription):
            if event_id in (each.event_id, each.id) and event_id:
                return each
        raise NotFound(f"The subscription {subscription!r} has no dead letter of an event {event_id!r}.")

    async def _open(self, tenant: str, subscription: str) -> Sequence[DeadLetter]:
        stream, events = StreamId(tenant, _stream(subscription)), list[Event]()
        try:
            while page := await self._log.read_stream(
                stream, from_version=events[-1].version + 1 if events else 1, limit=_PAGE
            ):
                events += page
                if len(page) < _PAGE:
                    break
        except NotFound:
            return []  # nothing has failed yet
        return fold(events)

    async def _append(
        self,
        tenant: str,
        subscription: str,
        type: str,
        about: str,
        data: Mapping[str, Any],
        *,
        correlation_id: str | None,
    ) -> None:
        id: UUID = uuid5(_IDS, "\n".join((type, tenant, subscription, about)))
        metadata = Metadata(correlation_id=correlation_id, causation_id=data.get("event_id"), source="bus")
        event = NewEvent(type, data, metadata, event_id=str(id))
        await self._log.append_to(StreamId(tenant, _stream(subscription)), [event])


def fold(events: Sequence[Event]) -> Sequence[DeadLetter]:
    """The letters of one stream that were neither handled after all nor given up. Pure."""
    letters: dict[str, DeadLetter] = {}
    for event in events:
        data = event.data
        if event.type == DEAD_LETTERED and not event.is_erased:
            letters[data.get("event_id") or event.event_id] = DeadLetter(
                id=event.event_id,
                tenant=event.tenant,
                subscription=data["subscription"],
                event_id=data.get("event_id", ""),
                stream=data.get("stream", ""),
                version=data.get("version", 0),
                position=data.get("position", 0),
                event_type=data.get("event_type", ""),
                reason=data["reason"],
                attempts=data["attempts"],
                failed_at=event.occurred_at,
            )
        elif event.type in {RETRIED, PURGED}:
            letters.pop(data.get("event_id", ""), None)
    return list(letters.values())


def why(error: BaseException) -> str:
    """A failure as it is recorded: its kind and its words, on one line, and not more of them than needed."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:MAX_REASON] if words else type(error).__name__


def _stream(subscription: str) -> str:
    return f"bus-{subscription}"
