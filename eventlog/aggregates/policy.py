"""When a snapshot is worth taking. Pure."""

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT", "AnyOf", "Elapsed", "EveryEvents", "Manual", "Policy", "Since", "Size", "is_due"]


@dataclass(frozen=True, slots=True)
class EveryEvents:
    """After so many events since the last one."""

    events: int = 100


@dataclass(frozen=True, slots=True)
class Elapsed:
    """When the last one (or the first event, before there is one) is so old and events have come since."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """When the JSON of the events since the last one is so large, or that of the state itself."""

    event_bytes: int = 2**20
    state_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Manual:
    """Only when somebody asks for it."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """As soon as one of them says so."""

    policies: tuple[EveryEvents | Elapsed | Size, ...]


Policy = EveryEvents | Elapsed | Size | Manual | AnyOf

DEFAULT: Final[Policy] = EveryEvents(100)


@dataclass(frozen=True, slots=True)
class Since:
    """What has happened since the last snapshot, or since the beginning of the stream. Of the state, `state_bytes` is
    what it had in that snapshot (0 without one): measuring it anew each time would cost more than it saves."""

    events: int
    event_bytes: int
    seconds: float
    state_bytes: int = 0


def is_due(policy: Policy, since: Since) -> bool:
    if since.events <= 0:
        return False
    match policy:
        case EveryEvents(events):
            return since.events >= events
        case Elapsed(seconds):
            return since.seconds >= seconds
        case Size(event_bytes, state_bytes):
            is_large = state_bytes is not None and since.state_bytes + since.event_bytes >= state_bytes
            return since.event_bytes >= event_bytes or is_large
        case AnyOf(policies):
            return any(is_due(each, since) for each in policies)
        case Manual():
            return False
