"""The seam under the log: what SQLite and PostgreSQL each do in their own way. Everything else is the same for both.

A store appends batches and tells when the log has grown. Reading is plain SQL on its database (`eventlog.database`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from eventlog.database import Database
from eventlog.event import Appended, StreamId
from stoa.errors import StoaError

__all__ = ["Admitted", "Outcome", "Request", "Store"]


class Admitted(NamedTuple):  # one is made for each event: a frozen dataclass costs several times as much
    """An event that was checked, as it will lie in the database. `digest` covers salt, data and metadata
    (`eventlog.chain`); `subject` is the keyed digest of a subject's name, `event_id` the 16 bytes of the UUID."""

    event_id: bytes
    type: str
    schema_version: int
    data: bytes
    metadata: bytes
    salt: bytes
    digest: bytes
    occurred_us: int
    correlation_id: str | None
    subject: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One append to one stream, checked and ready. `expected` as in `Append`."""

    stream: StreamId
    events: Sequence[Admitted]
    expected: int | None


Outcome = Appended | StoaError
"""Of one request: where it went, or why not (`Conflict` with the actual version)."""


class Store(Protocol):
    @property
    def database(self) -> Database: ...

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """Append what can be appended, in one durable transaction; an outcome for each request, in order.

        A request with a wrong expected version does not hold up the others. Events whose ids are in the log already
        get the answer of the first time. Raises `Unavailable` when nothing was written; where that is not known (the
        connection broke during the commit), the store finds out before it answers. Called by one task at a time.
        """
        ...

    async def grown(self, position: int) -> None:
        """Return once the log may hold events after `position`: soon after a commit of this process or another.
        It may return early; whoever waits reads and waits again."""
        ...
