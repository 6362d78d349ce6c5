"""What a projection is: a pure fold of events into documents, or a handler whose effect lies elsewhere.

Of a stream, events come in the order of their versions; of several streams in the order of positions, except that a
stream with a poison event is parked and follows later. So a document that is fed by several streams should not care
which of them came first (keep the larger position, add up, …).
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from eventlog.event import Event, Filter
from eventlog.filters import check_filter
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
    document as it is afterwards: None before the first event, and None to remove it. Both are pure, quick (the event
    loop waits for them) and the same for ever: whoever changes what they answer raises `version`, and the projection
    is built anew. The document handed in may be changed in place. `types` as in `Filter`: whole names or beginnings
    (`order.*`); none means all.

    Erased events are left out; and when some are erased that may be in the documents already, the projection is built
    anew by itself, so that what was erased does not live on in it. With `only_envelopes`, nothing of the events' data
    is looked at: erased events count as any other.
    """

    name: str
    types: tuple[str, ...]
    keys: Callable[[Event], Iterable[str]]
    apply: Callable[[str, Document | None, Event], Document | None]
    version: int = 1
    description: str = ""
    only_envelopes: bool = False

    def __post_init__(self) -> None:
        _check(self.name, self.version, self.types)

    def __repr__(self) -> str:
        return f"<DocumentProjection {self.name!r}, version {self.version}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkProjection:
    """An effect elsewhere: each event is handled at least once, so `handle` has to bear an event again.

    The position is written after the effect. A sink that keeps the position itself, beside the effect and in one
    transaction with it, answers it by `position`: position and checksum of the last event it has handled, None for
    none; then nothing is handled twice after a crash. A raised `Unavailable` means that the place of the effect is
    away: the projection waits and no event is blamed. An event that is parked comes later than those of other streams:
    keep the largest position. Longer than `handle_seconds` is a failure. `reset` empties that place, and the position
    with it, when the projection is built anew; without one, events are only handled again from the first on.
    """

    name: str
    types: tuple[str, ...]
    handle: Callable[[Event], Awaitable[None]]
    position: Callable[[], Awaitable[tuple[int, bytes] | None]] | None = None
    reset: Callable[[], Awaitable[None]] | None = None
    handle_seconds: float = 60.0
    version: int = 1
    description: str = ""

    def __post_init__(self) -> None:
        _check(self.name, self.version, self.types)
        if self.position is not None and self.reset is None:
            hint = "Give it a `reset` that empties its place and forgets the position."
            raise BadInput(f"Projection {self.name!r} keeps a position and could never be built anew.", hint=hint)

    def __repr__(self) -> str:
        return f"<SinkProjection {self.name!r}, version {self.version}>"


Projection = DocumentProjection | SinkProjection


def is_wanted(event: Event, projection: Projection) -> bool:
    """Whether the event is of one of the projection's types, and not erased (envelopes are never erased)."""
    if event.is_erased and not (isinstance(projection, DocumentProjection) and projection.only_envelopes):
        return False
    types, type = projection.types, event.type
    return not types or any(type.startswith(one[:-1]) if one.endswith("*") else type == one for one in types)


def _check(name: str, version: int, types: tuple[str, ...]) -> None:
    if not _NAME.fullmatch(name):
        hint = "Use a small letter, then small letters, digits, '_', '-' and '.', at most 100 in all."
        raise BadInput(f"{name[:120]!r} cannot be the name of a projection.", hint=hint)
    if version < 1:
        raise BadInput(f"Projection {name!r} has version {version}.", hint="Versions begin with 1 and only grow.")
    check_filter(Filter(types=types))
