"""A person's data: readable while the key is there, exported on request, gone everywhere once it is erased."""

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from eventlog.event import Event, Metadata, NewEvent, StreamId
from eventlog.keeping.erase import erase, erasures_of
from eventlog.keeping.verify import verify
from eventlog.log import EventLog
from eventlog.open import open_log, open_sqlite, serve_log
from eventlog.subjects.erase import erase_subject
from eventlog.subjects.export import export_subject
from stoa.errors import BadInput, Conflict, Fault
from stoa.settings import Settings
from tests.eventlog.keeping.scenes import ORDER, OTHER, PERSON, change, known, placed, rows


async def exported(log: EventLog, tenant: str, subject: str) -> Sequence[Event]:
    return [event async for page in export_subject(log, tenant, subject) for event in page]


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def lose_keys(folder: Path) -> None:
    for file in folder.glob("subjects.db*"):
        file.unlink()


async def persons(log: EventLog) -> None:
    for stream in (PERSON, ORDER, OTHER):
        for number in range(3):
            await log.append_to(stream, [known(number, "bob"), known(number, "ann"), placed(number)])


async def test_data_of_a_subject_is_read_like_any_other_and_lies_sealed(log: EventLog) -> None:
    await log.append_to(PERSON, [known(1, "bob")])
    (event,) = await log.read_stream(PERSON)
    assert event.data == {"name": "bob", "number": 1}
    assert event.is_personal
    ((data, subject),) = await rows(log, "SELECT data, subject FROM event")
    assert isinstance(data, bytes)
    assert b"bob" not in data
    assert isinstance(subject, bytes)
    assert len(subject) == 16


async def test_an_export_holds_all_of_one_person_and_nothing_else(log: EventLog) -> None:
    await persons(log)
    found = await exported(log, "acme", "bob")
    assert [(each.stream, each.data["name"]) for each in found] == [(PERSON, "bob")] * 3 + [(ORDER, "bob")] * 3
    assert [each.position for each in found] == sorted(each.position for each in found)
    assert await exported(log, "acme", "nobody") == []
    assert await exported(log, "nobody", "bob") == []
    await erase(log, PERSON, [1])
    assert len(await exported(log, "acme", "bob")) == 5


async def test_an_erased_person_is_gone_from_all_streams_of_the_tenant(log: EventLog) -> None:
    await persons(log)
    done = await erase_subject(log, "acme", "bob", metadata=Metadata(principal="clerk"))
    assert (done.events, done.streams, done.had_key) == (6, 2, True)
    assert await exported(log, "acme", "bob") == []
    for stream in (PERSON, ORDER):
        assert [each.is_erased for each in await log.read_stream(stream)] == [True, False, False] * 3
    assert not any(each.is_erased for each in await log.read_stream(OTHER))
    assert len(await exported(log, "other", "bob")) == 3
    assert len(await exported(log, "acme", "ann")) == 6
    told = await log.read_stream(erasures_of("acme"))
    assert [each.data for each in told] == [
        {"stream": "person-7", "versions": [[1, 1], [4, 4], [7, 7]]},
        {"stream": "order-1", "versions": [[1, 1], [4, 4], [7, 7]]},
    ]
    assert {each.metadata.principal for each in told} == {"clerk"}
    assert (await verify(log)).is_sound


async def test_many_events_are_erased_page_by_page(log: EventLog) -> None:
    await log.append_to(PERSON, [known(number) for number in range(900)])
    told: list[tuple[int, int]] = []
    done = await erase_subject(log, "acme", "bob", on_progress=lambda done, of: told.append((done, of)))
    assert done.events == 900
    assert told == [(500, 900), (900, 900)]
    assert all(each.is_erased for each in await log.read_stream(PERSON))


async def test_erasing_again_changes_nothing(log: EventLog) -> None:
    await persons(log)
    await erase_subject(log, "acme", "bob")
    head = await log.head()
    again = await erase_subject(log, "acme", "bob")
    assert (again.events, again.streams, again.had_key) == (0, 0, False)
    assert (await log.head()).position == head.position


async def test_an_event_that_comes_late_does_not_bring_the_person_back(log: EventLog) -> None:
    await persons(log)
    await erase_subject(log, "acme", "bob")
    await erase_subject(log, "acme", "stranger")
    for name in ("bob", "stranger"):
        with pytest.raises(Conflict, match="was erased"):
            await log.append_to(PERSON, [placed(1), known(9, name)])
    assert len(await log.read_stream(PERSON)) == 9
    await log.append_to(OTHER, [known(9, "bob")])


async def test_without_its_key_an_event_reads_as_erased(log: EventLog) -> None:
    """Between the first moment of an erasure and its last, and in every copy of the log."""
    await log.append_to(PERSON, [known(1), known(1, "ann")])
    assert log.keys is not None
    assert await log.keys.destroy("acme", "bob")
    assert not await log.keys.destroy("acme", "bob")
    bob, ann = await log.read_stream(PERSON)
    assert bob.is_erased
    assert bob.data == {}
    assert ann.data["name"] == "ann"
    assert (await verify(log)).is_sound


async def test_sealed_data_that_was_moved_to_another_event_does_not_open(log: EventLog) -> None:
    await log.append_to(PERSON, [known(1), known(2)])
    ((data,),) = await rows(log, "SELECT data FROM event WHERE position = 1")
    await change(log, "UPDATE event SET data = $1 WHERE position = 2", data)
    first, second = await log.read_stream(PERSON)
    assert first.data == {"name": "bob", "number": 1}
    with pytest.raises(Fault, match=r"event 2 .* cannot be read.*verify"):
        assert second.data
    assert [each.position for each in (await verify(log)).problems] == [2]


async def test_keys_that_were_lost_and_made_anew_keep_nobody_from_reading_on(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path})
    async with open_log(settings) as log:
        await log.append_to(PERSON, [known(1)])
        await log.append_to(OTHER, [placed(1)])
    lose_keys(tmp_path)
    async with open_log(settings) as log:
        await log.append_to(PERSON, [known(2)])
        lost, other, new = await log.read_all()
        assert (other.data["number"], new.data["number"]) == (1, 2)
        with pytest.raises(Fault, match="does not open"):
            assert lost.data


async def test_an_installation_with_another_secret_adds_no_key_that_the_others_could_not_open(
    tmp_path: Path, postgres_url: str
) -> None:
    one, other = (Settings.model_validate({"home": tmp_path / name, "database_url": postgres_url}) for name in "ab")
    async with open_log(one) as log:
        await log.append_to(PERSON, [known(1)])
    async with open_log(other) as log:
        with pytest.raises(Fault, match="secret key"):
            await log.append_to(PERSON, [known(2, "ann")])
        await log.append_to(OTHER, [placed(1)])
    async with open_log(one) as log:
        assert [each.data["number"] for each in await log.read_all()] == [1, 1]


async def test_two_who_name_a_new_subject_at_once_share_its_key(log: EventLog) -> None:
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(log.append_to, StreamId("acme", f"person-{number}"), [known(number)])
    assert len(await exported(log, "acme", "bob")) == 8


async def test_a_log_without_keys_takes_no_subjects() -> None:
    async with open_sqlite(None) as store, serve_log(store) as log:
        with pytest.raises(BadInput):
            await log.append_to(PERSON, [known(1)])
        with pytest.raises(BadInput):
            await erase_subject(log, "acme", "bob")
        with pytest.raises(BadInput):
            await exported(log, "acme", "bob")


async def test_an_impossible_name_is_refused_before_anything_happens(log: EventLog) -> None:
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(BadInput):
            await erase_subject(log, "acme", name)
        with pytest.raises(BadInput):
            await exported(log, "acme", name)


async def test_a_backup_of_the_log_does_not_bring_an_erased_person_back(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path / "home"})
    async with open_log(settings) as log:
        await log.append_to(PERSON, [known(1), NewEvent("person.known", {"n": 1})])
    shutil.copy(tmp_path / "home/events.db", tmp_path / "backup.db")
    async with open_log(settings) as log:
        await erase_subject(log, "acme", "bob")
    shutil.copy(tmp_path / "backup.db", tmp_path / "home/events.db")
    async with open_log(settings) as log:
        first, second = await log.read_stream(PERSON)
        assert first.is_erased
        assert second.data == {"n": 1}
        assert (await verify(log)).is_sound


async def test_nothing_of_an_erased_person_is_left_in_the_files(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path})
    async with open_log(settings) as log:
        await log.append_to(PERSON, [known(1)])
        await log.append_to(ORDER, [NewEvent("order.placed", {"secret": "plain-and-clear"})])
        ((sealed,),) = await rows(log, "SELECT data FROM event WHERE position = 1")
        with sqlite3.connect(tmp_path / "subjects.db") as direct:
            ((wrapped,),) = direct.execute("SELECT wrapped FROM subject_key").fetchall()
        direct.close()
        await erase_subject(log, "acme", "bob")
        await erase(log, ORDER)
        left = all_bytes(tmp_path)
    assert isinstance(sealed, bytes)
    assert sealed not in left
    assert wrapped not in left
    assert b"plain-and-clear" not in left
