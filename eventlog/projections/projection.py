"""What a projection is: a pure fold of events into documents, or a handler whose effect lies elsewhere.

Of a stream, events come in the order of their versions; of several streams in the order of positions, except that a
stream with a poison event is parked and follows later. So a document that is fed by several streams should not care
which of them came first (keep the larger position, add up, …).
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from eventlog.event import Event
from stoa.errors import BadInput

__all__ = [
    "ERASED",
    "MAX_DOCUMENT_BYTES",
    "MAX_KEYS",
    "MAX_KEY_CHARACTERS",
    "Document",
    "DocumentProjection",
    "Projection",
    "SinkProjection",
    "is_wanted",
]

MAX_DOCUMENT_BYTES: Final = 2**20
"""Of the JSON of one document."""
MAX_KEY_CHARACTERS: Final = 200
MAX_KEYS: Final = 100
"""That one event may touch."""

ERASED: Final = "log.erased"
"""The type of the event that tells that events of a stream were erased; data: `{stream, versions}`."""

Document = dict[str, Any]

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentProjection:
    """Documents by key, for each tenant, in the log's own database: each event is applied exactly once.

    `keys` says which documents of the event's tenant an event touches. `apply(key, document, event)` answers the
    document as it is afterwards: None before the first event, and None to remove it. Both are pure and the same for
    ever: whoever changes what they answer raises `version`, and the projection is built anew. The document handed in
    may be changed in place. `types` as in `Filter`: whole names or beginnings (`order.*`); none means all.
    Erased events are left out.
    """

    name: str
    types: tuple[str, ...]
    keys: Callable[[Event], Iterable[str]]
    apply: Callable[[str, Document | None, Event], Document | None]
    version: int = 1
    description: str = ""

    def __post_init__(self) -> None:
        _check(self.name, self.version)

    def __repr__(self) -> str:
        return f"<DocumentProjection {self.name!r}, version {self.version}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkProjection:
    """An effect elsewhere: each event is handled at least once, so `handle` has to bear an event again.

    The position is written after the effect. A sink that keeps the position itself, beside the effect and in one
    transaction with it, answers it by `position`: position and checksum of the last event it has handled, None for
    none; then nothing is handled twice after a crash. A raised `Unavailable` means that the place of the effect is
    away: the projection waits and no event is blamed. `reset` empties that place when the projection is built anew;
    without one, its events are handled again from the first on.
    """

    name: str
    types: tuple[str, ...]
    handle: Callable[[Event], Awaitable[None]]
    position: Callable[[], Awaitable[tuple[int, bytes] | None]] | None = None
    reset: Callable[[], Awaitable[None]] | None = None
    version: int = 1
    description: str = ""

    def __post_init__(self) -> None:
        _check(self.name, self.version)

    def __repr__(self) -> str:
        return f"<SinkProjection {self.name!r}, version {self.version}>"


Projection = DocumentProjection | SinkProjection


def is_wanted(type: str, types: tuple[str, ...]) -> bool:
    """Whether an event of this type is one of `types`, which are whole names or beginnings (`order.*`)."""
    return not types or any(type.startswith(one[:-1]) if one.endswith("*") else type == one for one in types)


def _check(name: str, version: int) -> None:
    if not _NAME.fullmatch(name):
        hint = "Use a small letter, then small letters, digits, '_', '-' and '.', at most 100 in all."
        raise BadInput(f"{name[:120]!r} cannot be the name of a projection.", hint=hint)
    if version < 1:
        raise BadInput(f"Projection {name!r} has version {version}.", hint="Versions begin with 1 and only grow.")
