"""Files whose sums are right and whose content is not: made by hand, to break the log that takes them in."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from eventlog.backup.exporting import export_events
from eventlog.backup.importing import import_events
from eventlog.backup.lines import Header, header_line, write_line
from eventlog.event import Filter, NewEvent, StreamId
from eventlog.log import EventLog
from stoa.errors import BadInput, StoaError

ID = "0192f0c1-7c1e-7d3a-9a51-3f0e8b6f2c1"
EVENT: Mapping[str, Any] = {
    "event_id": f"{ID}0",
    "tenant": "acme",
    "stream": "order-1",
    "version": 1,
    "position": 1,
    "event_type": "order.placed",
    "schema_version": 1,
    "occurred_at": "2026-01-01T00:00:00+00:00",
    "recorded_at": "2026-01-01T00:00:00+00:00",
    "checksum": "00",
    "data": {},
    "metadata": {},
}


def content(events: Sequence[Mapping[str, Any]], *, epoch: str = "elsewhere") -> bytes:
    line, sum = header_line(Header(epoch, 10, {}))
    lines = [line]
    for event in events:
        line, sum = write_line("event", event, sum)
        lines.append(line)
    line, sum = write_line("end", {"events": len(events), "position": 10}, sum)
    return b"".join([*lines, line])


async def refused(log: EventLog, file: Path) -> StoaError:
    with anyio.fail_after(20), pytest.raises(StoaError) as caught:
        await import_events(log, file)
    assert (await log.head()).position == 0
    return caught.value


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": None},
        {"schema_version": 1.5},
        {"schema_version": -1},
        {"schema_version": 2**63},
        {"schema_version": "1"},
        {"occurred_at": "0001-01-01T00:00:00+14:00"},
        {"occurred_at": 5},
        {"tenant": ["acme"]},
        {"stream": "order-1\x00"},
        {"event_type": "order.*"},
        {"metadata": {"tags": 5}},
        {"metadata": {"correlation_id": {"a": 1}}},
        {"metadata": {"unknown": 1}},
        {"sealed": "AQ==", "subject": "00" * 16},
        {"sealed": 5, "subject": "00"},
    ],
)
async def test_an_event_that_cannot_be_is_refused_and_nothing_written(
    log: EventLog, tmp_path: Path, change: Mapping[str, Any]
) -> None:
    file = tmp_path / "events.jsonl"
    good = [{**EVENT, "event_id": f"{ID}{n}", "version": n} for n in (1, 2)]
    file.write_bytes(content([*good, {**EVENT, "version": 3, **change}]))
    said = await refused(log, file)
    assert isinstance(said, BadInput)
    assert said.message.startswith("Line 4")


@pytest.mark.parametrize("again", [{}, {"tenant": "other"}, {"stream": "order-2"}])
async def test_an_id_that_comes_twice_is_refused(log: EventLog, tmp_path: Path, again: Mapping[str, Any]) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(content([EVENT, {**EVENT, **again}]))
    assert "Line 3" in (await refused(log, file)).message


@pytest.mark.parametrize("brackets", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
async def test_json_without_a_bottom_is_refused(log: EventLog, tmp_path: Path, brackets: bytes) -> None:
    header, before = header_line(Header("elsewhere", 10, {}))
    rest = b'"event":{"data":' + brackets + b"}}"
    sum = hashlib.sha256(before + rest).hexdigest().encode()
    file = tmp_path / "events.jsonl"
    file.write_bytes(header + b'{"sum":"' + sum + b'",' + rest + b"\n")
    assert "Line 2" in (await refused(log, file)).message


async def test_a_line_without_an_end_is_refused_unread(log: EventLog, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with file.open("wb") as stream:
        stream.write(b'{"sum":"')
        stream.truncate(2**33)  # without taking room on the disk
    assert "Line 1" in (await refused(log, file)).message


async def test_a_pipe_is_neither_read_nor_written(log: EventLog, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no regular file" in (await refused(log, pipe)).message
    for other in (pipe, Path("/dev/null"), tmp_path):
        with anyio.fail_after(20), pytest.raises(BadInput, match="cannot be written"):
            await export_events(log, other)


@pytest.mark.parametrize(
    "change", [{"position": None}, {"position": "1"}, {"position": -1}, {"checksum": 5}, {"checksum": None}]
)
async def test_an_export_does_not_go_on_in_what_cannot_be_its_own(
    log: EventLog, tmp_path: Path, change: Mapping[str, Any]
) -> None:
    await log.append_to(StreamId("acme", "order-1"), [NewEvent("order.placed", {})])
    file = tmp_path / "events.jsonl"
    made = content([{**EVENT, **change}], epoch=(await log.head()).epoch)
    file.write_bytes(made)
    with pytest.raises(BadInput, match="Line 2"):
        await export_events(log, file, filter=Filter())
    assert file.read_bytes() == made
