"""The fold itself, pure: one event into the documents it touches; and a sandbox that folds in memory.

Between two events a document is JSON. So it never matters where a batch ended, what a failed handler had changed by
then is gone, and the size is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from eventlog.event import Event, StreamId
from eventlog.projections.projection import (
    MAX_DOCUMENT_BYTES,
    MAX_KEY_CHARACTERS,
    MAX_KEYS,
    DocumentProjection,
    is_wanted,
)
from stoa.errors import BadInput, StoaError

__all__ = ["Failed", "Sandbox", "applied", "keys_of", "reason_of"]

_MOST_REASON: Final = 500


def keys_of(projection: DocumentProjection, event: Event) -> Sequence[bytes]:
    """The keys that an event touches, as UTF-8, each once. Raises what the projection raises, and `BadInput`."""
    keys: dict[bytes, None] = {}
    for key in projection.keys(event):
        if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
            raise BadInput(
                f"The key {key[:40]!r} has {len(key)} characters.", hint=f"Keys have 1 to {MAX_KEY_CHARACTERS}."
            )
        keys[key.encode()] = None
        if len(keys) > MAX_KEYS:
            raise BadInput(f"One event touches more than {MAX_KEYS} documents.", hint="Use fewer keys.")
    return tuple(keys)


def applied(
    projection: DocumentProjection,
    keys: Iterable[bytes],
    documents: Mapping[tuple[str, bytes], bytes | None],
    event: Event,
) -> Mapping[tuple[str, bytes], bytes | None]:
    """The documents that this event changes, as they are after it; of a failing event none is changed."""
    changed: dict[tuple[str, bytes], bytes | None] = {}
    for key in keys:
        place = (event.tenant, key)
        before = documents.get(place)
        after = projection.apply(key.decode(), None if before is None else orjson.loads(before), event)
        if after is None:
            if before is not None:
                changed[place] = None
            continue
        if not isinstance(after, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - code of others answers it
            raise BadInput(f"The document {key.decode()[:40]!r} would be no object, but {type(after).__name__}.")
        document = orjson.dumps(after)
        if len(document) > MAX_DOCUMENT_BYTES:
            hint = f"Documents have at most {MAX_DOCUMENT_BYTES} bytes: spread them over more keys."
            raise BadInput(f"The document {key.decode()[:40]!r} would have {len(document)} bytes.", hint=hint)
        if document != before:
            changed[place] = document
    return changed


def reason_of(error: Exception) -> str:
    """Why an event could not be applied, for people: one bounded line."""
    words = str(error) if isinstance(error, StoaError) else f"{type(error).__name__}: {error}"
    return " ".join(words.replace("\x00", "").split())[:_MOST_REASON] or type(error).__name__


@dataclass(frozen=True, slots=True)
class Failed:
    """An event that could not be applied; later events of its stream wait."""

    stream: StreamId
    version: int
    position: int
    reason: str


class Sandbox:
    """A projection in memory, fed by hand: for replays, for states of the past, and to prove the real one.

    Raises `BadInput` rather than hold more than `max_documents` or `max_bytes`.
    """

    def __init__(
        self, projection: DocumentProjection, *, max_documents: int = 100_000, max_bytes: int = 256 * 2**20
    ) -> None:
        self.projection = projection
        self.applied = 0
        self.failed: list[Failed] = []
        self._parked: set[StreamId] = set()
        self._documents: dict[tuple[str, bytes], bytes] = {}
        self._bytes = 0
        self._max_documents = max_documents
        self._max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"<Sandbox of {self.projection.name!r}: {self.applied} events, {len(self._documents)} documents>"

    def apply(self, event: Event) -> None:
        """Events come in the order of positions. Those that the projection does not want, and erased ones, are left
        out; one that fails parks its stream, as in the real one."""
        if event.stream in self._parked or not is_wanted(event, self.projection):
            return
        try:
            changed = applied(self.projection, keys_of(self.projection, event), self._documents, event)
        except Exception as error:  # noqa: BLE001 - whatever a projection raises is a failure of this event
            self._parked.add(event.stream)
            self.failed.append(Failed(event.stream, event.version, event.position, reason_of(error)))
            return
        self.applied += 1
        for place, document in changed.items():
            before = self._documents.pop(place, b"")
            self._bytes -= len(before)
            if document is not None:
                self._documents[place] = document
                self._bytes += len(document)
        if len(self._documents) > self._max_documents or self._bytes > self._max_bytes:
            what = f"{len(self._documents)} documents of {self._bytes} bytes"
            raise BadInput(f"The replay of {self.projection.name!r} would hold {what}.", hint="Replay fewer events.")

    def documents(self, tenant: str) -> dict[str, dict[str, Any]]:
        """In the order of their keys."""
        mine = sorted((key, document) for (owner, key), document in self._documents.items() if owner == tenant)
        return {key.decode(): orjson.loads(document) for key, document in mine}

    def all_documents(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Of all tenants, by tenant and key."""
        every = sorted(self._documents.items())
        return {(tenant, key.decode()): orjson.loads(document) for (tenant, key), document in every}
