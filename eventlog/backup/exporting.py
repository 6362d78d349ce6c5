"""Events out of the log into a file of JSON lines; an interrupted export goes on where it stopped."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import anyio.to_thread
import orjson

from eventlog.backup.lines import MAX_LINE, Header, damaged, header_line, read_header, read_line, write_line
from eventlog.backup.opening import open_regular
from eventlog.event import EVERYTHING, Event, Filter
from eventlog.keeping.progress import OnProgress, silent
from eventlog.log import EventLog
from stoa.errors import BadInput

__all__ = ["Exported", "export_events"]

PAGE: Final = 250
"""Events; each may have a MiB."""

_SEALED: Final = """
SELECT position, subject, data, metadata FROM event
WHERE position >= $1 AND position <= $2 AND subject IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What the finished file holds; `resumed_at` is how many events of it were there already (0 for a new file).
    `checksum` is the last one of the file: it stands for all lines before."""

    events: int
    position: int
    checksum: str
    resumed_at: int


@dataclass(slots=True)
class _Writing:
    """Where a file is: how many bytes of it are whole lines, and what they hold."""

    header: Header
    sum: bytes = b""
    bytes: int = 0
    events: int = 0
    position: int = 0
    checksum: str | None = None
    is_finished: bool = False


async def export_events(
    log: EventLog, file: Path, *, filter: Filter = EVERYTHING, on_progress: OnProgress = silent
) -> Exported:
    """Write all events up to the log's head of now. Where `file` holds the beginning of the same export, it goes on
    after its last whole line, to the head of then; where it holds all of it, nothing is done.

    Data of subjects stays sealed: a file does not bring back whom the log has forgotten. Erased events are written as
    such. Raises `BadInput` when the file is something else, or the export of another log or filter. `on_progress` gets
    positions.
    """
    head = await log.head()
    wanted = Header.of(head.epoch, head.position, filter)
    stream = await anyio.to_thread.run_sync(_open, file)
    with stream:
        state = await anyio.to_thread.run_sync(_resume, stream, wanted)
        resumed_at = state.events
        if state.checksum is not None:
            await _check_place(log, state)
        until = state.header.until
        while not state.is_finished:
            # Without a filter the log is read straight on, which is much quicker than up to a position.
            before = None if filter == EVERYTHING else until + 1
            found = await log.read_all(state.position, filter=filter, limit=PAGE, until=before)
            page = [event for event in found if event.position <= until]
            sealed = await _sealed(log, page)
            lines: list[bytes] = []
            for event in page:
                line, state.sum = write_line("event", _payload(event, sealed.get(event.position)), state.sum)
                lines.append(line)
            state.events += len(page)
            if page:
                state.position = page[-1].position
            else:
                end = {"events": state.events, "position": until}
                line, state.sum = write_line("end", end, state.sum)
                lines.append(line)
                state.is_finished = True
            await anyio.to_thread.run_sync(_write, stream, b"".join(lines), state.is_finished)
            on_progress(until if state.is_finished else state.position, until)
    return Exported(state.events, until, state.sum.hex(), resumed_at)


def _payload(event: Event, sealed: tuple[bytes, bytes, bytes] | None) -> Mapping[str, Any]:
    payload: dict[str, Any] = {
        "event_id": event.event_id,
        "tenant": event.stream.tenant,
        "stream": event.stream.name,
        "aggregate_type": event.stream.aggregate_type,
        "aggregate_id": event.stream.aggregate_id,
        "version": event.version,
        "position": event.position,
        "event_type": event.type,
        "schema_version": event.schema_version,
        "occurred_at": event.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
        "checksum": event.checksum.hex(),
    }
    if sealed is not None:
        subject, data, metadata = sealed
        payload["subject"] = subject.hex()
        payload["sealed"] = base64.b64encode(data).decode()
        payload["metadata"] = orjson.Fragment(metadata)
    elif event.stored_data is None or event.is_personal:  # personal and not sealed: erased since the page was read
        payload["is_erased"] = True
    else:
        # As it was written: what upcasters make of it is the business of whoever reads it one day.
        payload["data"] = orjson.Fragment(event.stored_data)
        payload["metadata"] = orjson.Fragment(event.raw_metadata or b"{}")
    return payload


async def _sealed(log: EventLog, page: Sequence[Event]) -> Mapping[int, tuple[bytes, bytes, bytes]]:
    """Of those events of a page whose data is sealed: subject, data and metadata as they lie there."""
    if not page:
        return {}
    rows = await log.database.fetch(_SEALED, page[0].position, page[-1].position)
    return {row[0]: (row[1], row[2], row[3]) for row in cast(Sequence[tuple[int, bytes, bytes, bytes]], rows)}


async def _check_place(log: EventLog, state: _Writing) -> None:
    found = (await log.checkpoint(state.position)).checksum if state.position <= (await log.head()).position else b""
    if found.hex() != state.checksum:
        raise BadInput(
            f"The file was exported from this log, and its last event, position {state.position}, is not there any"
            " more: the log was restored from an older copy.",
            hint="Export into another file.",
        )


# In threads.


def _open(file: Path) -> BinaryIO:
    try:
        return open_regular(file, os.O_RDWR | os.O_CREAT, "r+b")
    except OSError as error:
        raise BadInput(
            f"The file {str(file)!r} cannot be written: {error.strerror}.", hint="Name a file that you may write."
        ) from error


def _resume(stream: BinaryIO, wanted: Header) -> _Writing:
    """Read what is there, cut off a line that is not whole, and stand at the end. An empty file gets its header."""
    line = stream.readline(MAX_LINE)
    if not line.endswith(b"\n") and header_line(wanted)[0].startswith(line[:8]):
        # Nothing, or less than the first line: another header may have stood there, with another end of the log.
        first, sum = header_line(wanted)
        stream.seek(0)
        stream.truncate()
        stream.write(first)
        stream.flush()
        return _Writing(wanted, sum, len(first))
    header, sum = read_header(line)
    if not header.is_continued_by(wanted):
        raise BadInput(
            "The file holds an export of another log, or with another filter.",
            hint="Name another file, or use the same options as when it was begun.",
        )
    state = _Writing(header, sum, len(line))
    number = 1
    while (line := stream.readline(MAX_LINE)).endswith(b"\n"):
        number += 1
        found = read_line(number, line, state.sum)
        if state.is_finished or found.kind == "header":
            raise BadInput(f"Line {number} of the file does not belong there.", hint="Export into another file.")
        state.sum, state.bytes = found.sum, state.bytes + len(line)
        if found.kind == "end":
            state.is_finished = True
        else:
            position, checksum = found.payload.get("position"), found.payload.get("checksum")
            if not isinstance(position, int) or not isinstance(checksum, str) or position <= state.position:
                raise damaged(number, "its position or checksum cannot be")
            state.events, state.position, state.checksum = state.events + 1, position, checksum
    if line and state.is_finished:
        raise BadInput(f"Line {number + 1} of the file does not belong there.", hint="Export into another file.")
    stream.seek(state.bytes)
    stream.truncate()
    return state


def _write(stream: BinaryIO, lines: bytes, is_last: bool) -> None:
    try:
        stream.write(lines)
        stream.flush()
        if is_last:
            os.fsync(stream.fileno())
    except OSError as error:
        raise BadInput(
            f"The file cannot be written: {error.strerror}.", hint="Make room, then export again: it goes on from here."
        ) from error
