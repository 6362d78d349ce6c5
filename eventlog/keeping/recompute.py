"""The chain computed again, row by row, in the order of positions. Pure: rows go in, problems come out.

What is kept between pages is one `Reached` for each stream that was met lately, and the few checksums that did not
agree. A row is blamed once: what follows a wrong checksum is taken as sound when it goes on from either of the two.
"""

import hashlib
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from eventlog.chain import START, envelope_tail
from eventlog.subjects.sealing import subject_in

__all__ = ["MAX_PROBLEMS", "Problem", "Reached", "Recomputing", "StoredRow"]

MAX_PROBLEMS: Final = 1_000
MAX_STREAMS: Final = 20_000
"""How many streams are remembered; then all are forgotten, and looked up again as they come."""

_LENGTH: Final = struct.Struct(">I")
_NUMBERS: Final = struct.Struct(">qqqqq")


@dataclass(frozen=True, slots=True)
class Problem:
    """Where the log is not as it was written, and what is wrong there. Without a `position` it concerns a stream, or
    the log as a whole."""

    position: int | None
    stream: str | None
    version: int | None
    what: str

    def __str__(self) -> str:
        where = [f"position {self.position}"] if self.position is not None else []
        if self.stream is not None:
            where.append(f"stream {self.stream!r}" + (f" version {self.version}" if self.version is not None else ""))
        return f"{', '.join(where) or 'the log'}: {self.what}"


class StoredRow(NamedTuple):
    """A row of `event`, or one of `truncated` with `tenant` and all that is gone as None."""

    position: int
    stream: int
    version: int
    tenant: int | None
    type: int
    schema_version: int
    event_id: bytes
    occurred_us: int
    recorded_us: int
    correlation_id: str | None
    subject: bytes | None
    salt: bytes | None
    data: bytes | None
    metadata: bytes | None
    digest: bytes | None
    checksum: bytes
    is_truncated: int


@dataclass(slots=True)
class Reached:
    """How far a stream has been followed. `checksum` is None where nobody knows it: the event is missing."""

    tenant_pk: int
    tenant: str
    name: str
    version: int = 0
    checksum: bytes | None = START
    tails: dict[int, bytes] = field(default_factory=dict[int, bytes])


@dataclass(slots=True)
class Recomputing:
    """The state of one verification. With `is_whole` every position is expected, else those of some streams only."""

    position: int
    is_whole: bool
    problems: list[Problem] = field(default_factory=list[Problem])
    is_cut: bool = False
    events: int = 0
    erased: int = 0
    truncated: int = 0
    streams: dict[int, Reached] = field(default_factory=dict[int, Reached])
    types: dict[int, str] = field(default_factory=dict[int, str])
    recorded_us: int = 0
    _doubtful: dict[tuple[int, int], bytes] = field(default_factory=dict[tuple[int, int], bytes])

    def blame(
        self, what: str, *, position: int | None = None, stream: str | None = None, version: int | None = None
    ) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(position, stream, version, what))
        else:
            self.is_cut = True

    def unknown(self, rows: Sequence[StoredRow]) -> Mapping[int, StoredRow]:
        """The streams of a page that have to be looked up first, each with its first row. Before that, streams are
        forgotten when they have become too many."""
        if len(self.streams) > MAX_STREAMS:
            self.streams.clear()
        found: dict[int, StoredRow] = {}
        for row in rows:
            if row[1] not in self.streams and row[1] not in found:
                found[row[1]] = StoredRow(*row)
        return found

    def unknown_types(self, rows: Sequence[StoredRow]) -> Collection[int]:
        return {row[4] for row in rows} - self.types.keys()

    def check(self, rows: Iterable[StoredRow]) -> None:
        """Take the next rows, in the order of positions; their streams and types are known where they exist."""
        for row in rows:
            position, pk, version = row[0], row[1], row[2]
            if position != self.position + 1 and not self._is_next(position):
                continue
            self.position = position
            reached = self.streams.get(pk)
            if reached is None:
                self.blame("it belongs to a stream that is missing", position=position, version=version)
                continue
            if row[16]:
                self.truncated += 1
            elif row[14] is not None:
                self.erased += 1
            else:
                self.events += 1
            try:
                what = self._fault(row, reached)
            except (TypeError, ValueError, AttributeError, struct.error):
                what = "a value in its row is of another kind than was written"
            if what is not None:
                self.blame(what, position=position, stream=reached.name, version=version)
            reached.version = version
            reached.checksum = row[15]
            if row[8] > self.recorded_us:
                self.recorded_us = row[8]

    def _is_next(self, position: int) -> bool:
        """Whether a row at a position that is not the one expected can be looked at."""
        if position <= self.position:
            self.blame("there are two events at this position", position=position)
            return False
        if self.is_whole:
            self.missing(position)
        return True

    def missing(self, until: int) -> None:
        """Blame the positions from the next one to the one before `until`."""
        first, last = self.position + 1, until - 1
        if first <= last:
            which = "the event is" if first == last else f"the events up to position {last} are"
            self.blame(f"{which} missing", position=first)

    def _fault(self, row: StoredRow, reached: Reached) -> str | None:
        (
            position,
            pk,
            version,
            tenant,
            type_pk,
            schema_version,
            event_id,
            occurred_us,
            recorded_us,
            correlation_id,
            subject,
            salt,
            data,
            metadata,
            digest,
            stored,
            is_truncated,
        ) = row
        before = reached.checksum
        if version != reached.version + 1:
            before_it = f"version {reached.version} is" if reached.version else "no version is"
            return f"it is version {version}, and {before_it} before it in the log"
        tail = reached.tails.get(type_pk)
        if tail is None:
            type = self.types.get(type_pk)
            if type is None:
                return "its type is missing"
            tail = reached.tails[type_pk] = envelope_tail(reached.tenant, reached.name, type)
        if digest is None:
            if salt is None or data is None or metadata is None:
                return "its data is missing, and nothing says that it was erased"
            if (subject is None) != (data[:1] == b"{") or (subject is not None and subject != subject_in(data)):
                return "its subject is not the one whose data it holds"
            digest = hashlib.sha256(b"".join((salt, _LENGTH.pack(len(data)), data, metadata))).digest()
            fault = (
                None
                if correlation_id is None and b'"correlation_id"' not in metadata
                else (_correlation_fault(correlation_id, metadata))
            )
        else:
            fault = None
            if not is_truncated and not (salt is data is metadata is subject is correlation_id is None):
                fault = "it was erased, and something of it is there"
        if tenant != reached.tenant_pk and not is_truncated:
            fault = "it belongs to another tenant than its stream"
        if recorded_us < self.recorded_us and self.is_whole:
            fault = "it was recorded earlier than the event before it"
        if before is None:
            return fault
        numbers = _NUMBERS.pack(position, version, schema_version, occurred_us, recorded_us)
        rest = b"".join((digest, numbers, event_id, tail))
        computed = hashlib.sha256(before + rest).digest()
        if computed == stored:
            return fault
        other = self._doubtful.get((pk, version - 1))
        if other is not None and hashlib.sha256(other + rest).digest() == stored:
            return fault
        if len(self._doubtful) < MAX_PROBLEMS:
            self._doubtful[pk, version] = computed
        return "its checksum is not that of what it holds: it was changed, or the event before it was"


def _correlation_fault(correlation_id: str | None, metadata: bytes) -> str | None:
    """The id that is searched by has to be the one in the metadata, which the chain covers."""
    try:
        values = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        return "its metadata is no JSON"
    return None if values.get("correlation_id") == correlation_id else "its correlation is not that of its metadata"
