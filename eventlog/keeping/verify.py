"""Does the log still say what it said? Every checksum again, every number in its place, every stream's end."""

from dataclasses import dataclass

from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog

__all__ = ["Problem", "Report", "verify"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Where the log is not as it was written, and what is wrong there. Without a `position` it concerns a stream, or
    the log as a whole."""

    position: int | None
    stream: str | None
    version: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at (`events` are those that can be read; `erased` and `truncated` ones come on top), up to
    `position`, and what was found. After `MAX_PROBLEMS` no more are listed, and `is_cut` is set."""

    position: int
    events: int
    erased: int
    truncated: int
    streams: int
    problems: tuple[Problem, ...]
    is_cut: bool = False

    @property
    def is_sound(self) -> bool:
        return not self.problems


async def verify(
    log: EventLog, *, tenant: str | None = None, after: int = 0, on_progress: OnProgress = silent
) -> Report:
    """Compute the chain of every stream again, from `after` on, and compare it with what lies in the database.

    Of a single tenant only its own streams are looked at, and named; positions that are missing altogether are then
    found by the versions around them. Needs no keys: sealed data is covered as it lies there. `on_progress` gets
    positions.
    """
    raise NotImplementedError
