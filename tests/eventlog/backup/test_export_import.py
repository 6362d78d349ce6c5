"""What goes out into a file comes in again as it was; what cannot be told to be whole is refused by its line."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from eventlog.backup.exporting import export_events
from eventlog.backup.importing import Imported, import_events
from eventlog.event import Event, Filter, NewEvent, StreamId
from eventlog.keeping.erase import erase
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from eventlog.open import open_log, open_memory
from eventlog.schemas import EventType, TypeRegistry
from eventlog.subjects.erase import erase_subject
from stoa.errors import BadInput, Conflict
from stoa.settings import Settings
from tests.eventlog.keeping.scenes import ORDER, OTHER, PERSON, everything, fill, known, placed, truncate


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def read(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def remove(folder: Path, names: str) -> None:
    for each in folder.glob(names):
        each.unlink()


def lines(file: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def what(event: Event) -> Sequence[object]:
    """All that is promised to stay."""
    return (
        event.event_id,
        event.stream,
        event.type,
        event.schema_version,
        event.stored_data,
        event.metadata,
        event.occurred_us,
        event.is_erased,
    )


async def test_a_file_has_a_header_the_events_and_an_end(log: EventLog, file: Path) -> None:
    await log.append_to(
        ORDER, [NewEvent("order.placed", {"n": 1.5, "ü": None}, occurred_at=datetime(2020, 1, 2, 3, 4, 5, 6, UTC))]
    )
    told: list[tuple[int, int]] = []
    done = await export_events(log, file, on_progress=lambda done, of: told.append((done, of)))
    header, event, end = lines(file)
    head = await log.head()
    assert header["header"] == {
        "format": "stoa-events",
        "version": 1,
        "epoch": head.epoch,
        "until": 1,
        "filter": {},
    }
    assert event["event"]["data"] == {"n": 1.5, "ü": None}
    assert event["event"]["occurred_at"] == "2020-01-02T03:04:05.000006+00:00"
    assert event["event"]["event_type"] == "order.placed"
    assert end["end"] == {"events": 1, "position": 1}
    assert (done.events, done.position, done.resumed_at, done.checksum) == (1, 1, 0, end["sum"])
    assert told[-1] == (1, 1)
    assert mode(file) == 0o600


async def test_what_went_out_comes_in_as_it_was(log: EventLog, file: Path) -> None:
    await everything(log)
    await export_events(log, file)
    async with open_memory() as target:
        done = await import_events(target, file)
        assert done == Imported(events=11, already=0, streams=4)
        came = await target.read_all()
        went = await log.read_all()
        assert [what(each)[:4] for each in came] == [what(each)[:4] for each in went]
        for old, new in zip(went, came, strict=True):
            if not old.is_personal:  # their key is the other log's
                assert what(old) == what(new)
        assert [each.version for each in await target.read_stream(ORDER)] == [1, 2]
        assert (await verify(target)).is_sound


async def test_events_come_into_every_kind_of_log(log: EventLog, file: Path) -> None:
    async with open_memory() as source:
        await everything(source)
        await export_events(source, file)
    told: list[tuple[int, int]] = []
    await import_events(log, file, on_progress=lambda done, of: told.append((done, of)))
    report = await verify(log)
    assert report.is_sound
    assert (report.events, report.erased) == (10, 1)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {of for _, of in told} == {2 * len(read(file))}
    again = await import_events(log, file)
    assert again == Imported(events=0, already=11, streams=4)
    assert (await log.head()).position == 11


async def test_sealed_data_opens_again_where_its_key_is_and_stays_gone_where_it_was_erased(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    settings = Settings.model_validate({"home": tmp_path / "home"})
    async with open_log(settings) as log:
        await log.append_to(PERSON, [known(1, "bob"), known(2, "ann")])
        await export_events(log, file)
        assert b"bob" not in read(file)
        await erase_subject(log, "acme", "bob")
    remove(tmp_path / "home", "events.db*")  # all but the keys
    async with open_log(settings) as log:
        await import_events(log, file)
        bob, ann = await log.read_stream(PERSON)
        assert bob.is_erased
        assert ann.data == {"name": "ann", "number": 2}


async def test_a_filter_lets_its_events_out_only(log: EventLog, file: Path) -> None:
    await everything(log)
    filter = Filter(tenant="other", types=("order.*",))
    assert (await export_events(log, file, filter=filter)).events == 4
    assert {line["event"]["tenant"] for line in lines(file)[1:-1]} == {"other"}
    assert (await export_events(log, file, filter=filter)).resumed_at == 4
    with pytest.raises(BadInput, match="another filter"):
        await export_events(log, file)
    async with open_memory() as target:
        assert (await import_events(target, file, tenant="other")).events == 4


async def test_a_tenant_takes_its_own_events_only(log: EventLog, file: Path) -> None:
    await everything(log)
    await export_events(log, file)
    async with open_memory() as target:
        with pytest.raises(BadInput, match=r"^Line 2: .* another tenant"):
            await import_events(target, file, tenant="acme")
        assert (await target.head()).position == 0


async def test_an_export_stops_where_the_log_ended_when_it_began(log: EventLog, file: Path) -> None:
    await fill(log, ORDER, 600)
    appended = False

    class Stop(Exception):
        pass

    def stop(done: int, of: int) -> None:
        nonlocal appended
        if not appended:
            appended = True
            raise Stop

    with pytest.raises(Stop):
        await export_events(log, file, on_progress=stop)
    assert len(lines(file)) == 251
    await fill(log, ORDER, 10)
    done = await export_events(log, file)
    assert (done.events, done.resumed_at, done.position) == (600, 250, 600)


async def test_an_export_of_another_log_or_a_restored_one_is_not_continued(tmp_path: Path, file: Path) -> None:
    async with open_memory() as log, open_memory() as other:
        await fill(log, ORDER)
        await export_events(log, file)
        before = read(file)
        with pytest.raises(BadInput, match="another log"):
            await export_events(other, file)
        assert read(file) == before
    settings = Settings.model_validate({"home": tmp_path / "home"})
    async with open_log(settings) as log:
        await fill(log, ORDER)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    remove(file.parent, file.name)
    async with open_log(settings) as log:
        await fill(log, ORDER)
        await export_events(log, file)
    async with open_log(Settings.model_validate({"home": tmp_path / "copy"})) as log:
        with pytest.raises(BadInput, match="restored from an older copy"):
            await export_events(log, file)
        await fill(log, ORDER, 7)
        with pytest.raises(BadInput, match="restored from an older copy"):
            await export_events(log, file)


@pytest.mark.parametrize("content", [b"hello\n", b"", b'{"sum":"x"}\n', b"\x00" * 100, b"[]\n" * 10])
async def test_a_file_of_somebody_else_is_refused(log: EventLog, file: Path, content: bytes) -> None:
    write(file, content)
    with pytest.raises(BadInput, match="Line 1"):
        await import_events(log, file)
    if content:
        with pytest.raises(BadInput, match="Line 1"):
            await export_events(log, file)
        assert read(file) == content
    assert (await log.head()).position == 0


async def test_a_file_that_cannot_be_opened_is_said(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        await import_events(log, tmp_path / "missing.jsonl")
    with pytest.raises(BadInput, match="cannot be written"):
        await export_events(log, tmp_path)


async def test_an_unfinished_file_is_refused(log: EventLog, file: Path) -> None:
    await fill(log, ORDER)
    await export_events(log, file)
    whole = read(file).splitlines(keepends=True)
    for kept in (whole[:-1], [*whole[:-1], whole[-1][:-2]]):
        write(file, b"".join(kept))
        async with open_memory() as target:
            with pytest.raises(BadInput, match="was not finished"):
                await import_events(target, file)
            assert (await target.head()).position == 0


async def test_a_stream_with_other_events_is_refused_and_nothing_is_written(log: EventLog, file: Path) -> None:
    async with open_memory() as source:
        await fill(source, OTHER)
        await fill(source, ORDER)
        await export_events(source, file)
    await log.append_to(ORDER, [placed(1)])
    with pytest.raises(Conflict, match=r"^Line 7: the stream 'order-1'"):
        await import_events(log, file)
    assert (await log.head()).position == 1


async def test_events_that_were_appended_after_an_import_are_in_nobodys_way(log: EventLog, file: Path) -> None:
    async with open_memory() as source:
        await fill(source, ORDER)
        await export_events(source, file)
        await import_events(log, file)
        await fill(log, ORDER, 1)
        assert (await import_events(log, file)).already == 5
        await fill(source, ORDER, 1)
        remove(file.parent, file.name)
        await export_events(source, file)
    with pytest.raises(Conflict, match="Line 7"):
        await import_events(log, file)


async def test_what_was_valid_once_is_not_asked_again(file: Path) -> None:
    async with open_memory() as source:
        await fill(source, ORDER)
        await erase(source, ORDER, [1])
        await export_events(source, file)
    strict = EventType("order.placed", schemas={1: {"type": "object", "required": ["total"]}})
    async with open_memory(TypeRegistry([strict])) as target:
        assert (await import_events(target, file)).events == 6


async def test_what_the_file_has_as_erased_is_erased_here_too(tmp_path: Path) -> None:
    """A restored log forgets again what was erased after its copy was made."""
    async with open_memory() as source, open_memory() as target:
        await fill(source, ORDER)
        await export_events(source, tmp_path / "before")
        await erase(source, ORDER, [2])
        await export_events(source, tmp_path / "after")
        await import_events(target, tmp_path / "before")
        await import_events(target, tmp_path / "after")
        assert [each.is_erased for each in await target.read_stream(ORDER)] == [False, True, False, False, False]
        assert (await verify(target)).is_sound


async def test_large_events_and_long_files_go_through(log: EventLog, file: Path) -> None:
    for number in range(3):
        await log.append_to(StreamId("acme", "order-2"), [NewEvent("order.noted", {"text": "é" * 500_000})] * 3)
        await fill(log, StreamId("acme", f"order-9{number}"), 700)
    await truncate(log, StreamId("acme", "order-91"), 100)
    await export_events(log, file)
    async with open_memory() as target:
        assert (await import_events(target, file)).events == 3 * 703 - 99
        assert (await verify(target)).is_sound
