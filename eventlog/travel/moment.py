"""Which moment is meant: a version of a stream, a position of the log, or a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eventlog.log import EventLog
from stoa.errors import BadInput

__all__ = ["NOW", "At", "position_of"]


@dataclass(frozen=True, slots=True)
class At:
    """At most one of them; none is now. What happened at that very version, position or time is part of the state.

    `time` is compared with `recorded_at`, which never goes back; when events say to have occurred does not matter.
    A position beyond the end is refused; a time to come is now.
    """

    version: int | None = None
    position: int | None = None
    time: datetime | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.version, self.position, self.time)) > 1:
            raise BadInput(
                "A moment is a version, a position or a time, and not several of them.", hint="Give one of the three."
            )
        for name, number in (("version", self.version), ("position", self.position)):
            if number is not None and not 0 <= number < 2**62:
                raise BadInput(f"There is no {name} {number}.", hint="Give 0 for the beginning, or a larger number.")
        if self.time is not None and self.time.tzinfo is None:
            raise BadInput(f"The time {self.time.isoformat()} has no zone.", hint="Give it with one, UTC for instance.")


NOW: Final = At()


async def position_of(log: EventLog, at: At) -> int:
    """Up to which position of the log that is. Raises `BadInput` for a version: it is of one stream alone."""
    if at.version is not None:
        raise BadInput("A version is of one stream alone.", hint="Give a position or a time.")
    if at.time is not None:
        return await log.position_at(at.time)
    head = (await log.head()).position
    if at.position is None:
        return head
    if at.position > head:
        raise BadInput(
            f"There is no position {at.position:,} yet; the log ends at {head:,}.", hint="Give a position up to there."
        )
    return at.position
