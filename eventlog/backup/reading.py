"""The events of an export file, line by line, checked as they come. Everything here runs in a thread."""

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from eventlog.admit import admit
from eventlog.backup.lines import MAX_LINE, Line, damaged, read_header, read_line
from eventlog.backup.opening import open_regular
from eventlog.chain import SALT_BYTES, digest
from eventlog.event import MAX_DATA_BYTES, Append, Metadata, NewEvent, StreamId
from eventlog.schemas import TypeRegistry
from eventlog.store import Admitted
from eventlog.subjects.sealing import SEALING_BYTES, subject_in
from stoa.errors import BadInput

__all__ = ["FileEvent", "open_export", "read_events"]

_ANY_TYPES: Final = TypeRegistry()  # what was valid when it was written is not asked again


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An event of line `line`, ready to be appended; `offset` is where the file goes on after it."""

    line: int
    offset: int
    stream: StreamId
    admitted: Admitted
    is_erased: bool


def open_export(file: Path) -> BinaryIO:
    try:
        return open_regular(file, os.O_RDONLY, "rb")
    except OSError as error:
        raise BadInput(
            f"The file {str(file)!r} cannot be read: {error.strerror}.", hint="Name a file that an export has written."
        ) from error


def read_events(stream: BinaryIO, tenant: str | None) -> Iterator[FileEvent]:
    """All events of a file, from its beginning. Raises `BadInput`, naming the line, at the first thing that is wrong;
    a file without its last line is unfinished."""
    stream.seek(0)
    line = stream.readline(MAX_LINE)
    _, sum = read_header(line)
    number, offset, count = 1, len(line), 0
    while line := stream.readline(MAX_LINE):
        number, offset = number + 1, offset + len(line)
        if not line.endswith(b"\n"):
            break
        found = read_line(number, line, sum)
        sum = found.sum
        if found.kind == "end":
            if found.payload.get("events") != count or stream.readline(1):
                raise damaged(number, "the last line is not the last, or events are missing before it")
            return
        if found.kind != "event":
            raise damaged(number, "there is a second header")
        count += 1
        yield _event(number, offset, found, tenant)
    raise BadInput(
        f"The file ends after line {number}, and its last line is missing: the export was not finished.",
        hint="Run the export again with the same file: it goes on where it stopped.",
    )


def _event(number: int, offset: int, line: Line, tenant: str | None) -> FileEvent:
    try:
        stream, event, is_erased = _admitted(line.payload)
    except BadInput as error:
        raise BadInput(f"Line {number}: {error.message}", hint=error.hint) from error
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise damaged(number, f"a part of the event is missing or of another kind ({error})") from error
    if tenant is not None and stream.tenant != tenant:
        raise BadInput(
            f"Line {number}: the event is of another tenant.", hint=f"Give a file with events of {tenant!r} only."
        )
    return FileEvent(number, offset, stream, event, is_erased)


def _admitted(payload: Mapping[str, Any]) -> tuple[StreamId, Admitted, bool]:
    stream = StreamId(payload["tenant"], payload["stream"])
    event_id: object = payload["event_id"]
    if not isinstance(event_id, str):  # without one it would get a fresh one, each time
        raise TypeError("event_id")
    is_erased, sealed = payload.get("is_erased") is True, payload.get("sealed")
    # Sealed and erased events are checked with nothing in them; what lies there comes afterwards.
    is_plain = not is_erased and sealed is None
    event = NewEvent(
        payload["event_type"],
        payload["data"] if is_plain else {},
        _metadata({} if is_erased else payload["metadata"]),
        event_id,
        datetime.fromisoformat(payload["occurred_at"]),
        payload["schema_version"],
    )
    (admitted,) = admit(Append(stream, [event]), types=_ANY_TYPES, now_us=0, entropy=os.urandom, keys={}).events
    if sealed is None:
        return stream, admitted, is_erased
    data, subject = base64.b64decode(sealed, validate=True), bytes.fromhex(payload["subject"])
    if subject_in(data) != subject or len(data) > MAX_DATA_BYTES + SEALING_BYTES:
        raise ValueError("sealed")
    salt = os.urandom(SALT_BYTES)
    changed = admitted._replace(data=data, salt=salt, digest=digest(salt, data, admitted.metadata), subject=subject)
    return stream, changed, False


def _metadata(values: Mapping[str, Any]) -> Metadata:
    rest = {**values}
    tags = tuple(cast("list[str]", rest.pop("tags", [])))
    return Metadata(**rest, tags=tags)
