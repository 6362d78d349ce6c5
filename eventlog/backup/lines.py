"""The lines of an export. Pure; no file is opened here.

    {"sum":"…","header":{"format":"stoa-events","version":1,"epoch":"…","until":1234,"filter":{…}}}
    {"sum":"…","event":{"event_id":"…","tenant":"…","stream":"…","version":1,"position":1,"event_type":"…",…}}
    {"sum":"…","end":{"events":1,"position":1234}}

`sum` is SHA-256 of the sum of the line before (32 zero bytes before the first) and of the bytes that follow it in its
own line, from the quote of `"header"`, `"event"` or `"end"` to the last brace. So a line that was changed, left out,
moved or added is found, and the last sum stands for the whole file. It tells damage, not forgery: it has no key.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import orjson

from eventlog.event import EVERYTHING, Filter
from stoa.errors import BadInput

__all__ = [
    "FIRST",
    "MAX_LINE",
    "Header",
    "Kind",
    "Line",
    "damaged",
    "header_line",
    "read_header",
    "read_line",
    "write_line",
]

FORMAT: Final = "stoa-events"
VERSION: Final = 1
FIRST: Final = bytes(32)
MAX_LINE: Final = 4 * 2**20
"""Bytes; an event of the greatest size has less than half of it."""

Kind = Literal["header", "event", "end"]
_KINDS: Final[tuple[Kind, ...]] = ("header", "event", "end")
_OPENING: Final = b'{"sum":"'
_CLOSING: Final = b'",'
_REST: Final = len(_OPENING) + 64 + len(_CLOSING)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file is an export of: the log, how far it goes, and which events were wanted."""

    epoch: str
    until: int
    filter: Mapping[str, Any]

    @classmethod
    def of(cls, epoch: str, until: int, filter: Filter) -> "Header":
        return cls(epoch, until, _as_json(filter))

    def is_continued_by(self, other: "Header") -> bool:
        return (self.epoch, self.filter) == (other.epoch, other.filter)


@dataclass(frozen=True, slots=True)
class Line:
    kind: Kind
    payload: Mapping[str, Any]
    sum: bytes


def write_line(kind: Kind, payload: Mapping[str, Any], before: bytes) -> tuple[bytes, bytes]:
    """The line, with its end, and its sum."""
    rest = b'"%b":%b}' % (kind.encode(), orjson.dumps(payload))
    sum = hashlib.sha256(before + rest).digest()
    return b"".join((_OPENING, sum.hex().encode(), _CLOSING, rest, b"\n")), sum


def header_line(header: Header) -> tuple[bytes, bytes]:
    payload = {
        "format": FORMAT,
        "version": VERSION,
        "epoch": header.epoch,
        "until": header.until,
        "filter": header.filter,
    }
    return write_line("header", payload, FIRST)


def read_line(number: int, line: bytes, before: bytes) -> Line:
    """Raises `BadInput` that names the line when it is not what was written there."""
    rest = line[_REST:-1]
    sum = hashlib.sha256(before + rest).digest()
    opening = b"".join((_OPENING, sum.hex().encode(), _CLOSING))
    if not line.endswith(b"}\n") or line[:_REST] != opening:
        raise damaged(number, "it is not as it was written, or a line before it is missing")
    for kind in _KINDS:
        if rest.startswith(b'"%b":{' % kind.encode()):
            try:
                payload: object = orjson.loads(rest[len(kind) + 3 : -1])
            except orjson.JSONDecodeError:
                break
            return Line(kind, cast(Mapping[str, Any], payload), sum)
    raise damaged(number, "it is no JSON of this format")


def read_header(line: bytes) -> tuple[Header, bytes]:
    """Of the first line, with its sum. Raises `BadInput` for a file of somebody else."""
    hint = "Give a file that `stoa events export` has written."
    if not line.startswith(_OPENING):
        raise BadInput("Line 1: this file is no export of events.", hint=hint)
    first = read_line(1, line, FIRST)
    if first.kind != "header" or first.payload.get("format") != FORMAT:
        raise BadInput("Line 1: this file is no export of events.", hint=hint)
    if first.payload.get("version") != VERSION:
        raise BadInput(
            f"Line 1: this file has format version {first.payload.get('version')!r}; {VERSION} is known here.",
            hint="Use the Stoa that has written it, or a newer one.",
        )
    epoch, until, filter = (first.payload.get(name) for name in ("epoch", "until", "filter"))
    if isinstance(epoch, str) and isinstance(until, int) and isinstance(filter, dict):
        return Header(epoch, until, cast(Mapping[str, Any], filter)), first.sum
    raise damaged(1, "the header is not complete")


def damaged(number: int, why: str) -> BadInput:
    return BadInput(
        f"Line {number} of the file is damaged: {why}.",
        hint="Take another copy of the file, or export again; nothing of this one was used.",
    )


def _as_json(filter: Filter) -> Mapping[str, Any]:
    """What differs from no filter at all."""
    values: dict[str, Any] = {}
    for name, plain in _fields(EVERYTHING):
        value: Any = getattr(filter, name)
        if value != plain:
            values[name] = value.isoformat() if name in {"since", "until"} else value
    return cast(Mapping[str, Any], orjson.loads(orjson.dumps(values)))


def _fields(filter: Filter) -> Iterable[tuple[str, object]]:
    return ((name, getattr(filter, name)) for name in filter.__dataclass_fields__)
