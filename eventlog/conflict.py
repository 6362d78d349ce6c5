"""What an append can be refused for, besides bad input."""

from eventlog.event import StreamId
from stoa.errors import Conflict

__all__ = ["IdTaken", "WrongVersion"]


class WrongVersion(Conflict):
    """The stream is not at the version that was expected. `actual` is where it is: 0 when there is no such stream."""

    def __init__(self, stream: StreamId, *, expected: int, actual: int) -> None:
        found = f"is at version {actual}" if actual else "does not exist"
        wanted = f"at version {expected}" if expected else "not to exist yet"
        super().__init__(
            f"The stream {stream.name!r} {found}; it was expected {wanted}. Nothing was appended to it.",
            hint="Read the stream again and decide again.",
        )
        self.stream = stream
        self.expected = expected
        self.actual = actual


class IdTaken(Conflict):
    """An id among those of an append belongs to another event. Where that one is, is not said: it may be of others."""

    def __init__(self, stream: StreamId, event_id: str) -> None:
        super().__init__(
            f"The event id {event_id} is in the log already, and not as part of this append to {stream.name!r}."
            " Nothing was appended to it.",
            hint="Use fresh ids for new events; to repeat an append, send the same events to the same stream.",
        )
        self.stream = stream
        self.event_id = event_id
